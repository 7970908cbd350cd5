// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/certificate_chain.h"

#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "tests/proto/certificates.h"

using namespace connd::proto;
using namespace connd::test;

namespace {

std::string vector_text(const std::string& name) {
  std::ifstream in(std::string(CONND_TEST_VECTORS) + "/" + name);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

ByteVector one_der(const CertificateChain& chain, std::size_t i) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(chain.certificate(i), &encoded);
  ByteVector out(encoded, encoded + size);
  OPENSSL_free(encoded);
  return out;
}

std::error_code verdict(const std::vector<Spec>& specs, std::int64_t now = kNow) {
  return chain(specs).verify(now).error();
}

}  // namespace

TEST_CASE("a chain made by OpenDHT has the ids that OpenDHT gives it") {
  // tests/vectors/opendht_chain.pem and these ids were printed by OpenDHT 2.4.12.
  const auto chain = CertificateChain::from_pem(vector_text("opendht_chain.pem"));
  REQUIRE(chain);
  CHECK(chain->size() == 3);
  CHECK(chain->device_id().hex() == "4f6379baa97da76c8b6a7aaf674dfafa131f4701357c3c968a7a4a17c662e9d1");
  CHECK(chain->short_device_id().hex() == "9db753e50d9a7a863ae3b8457de801669d6c2c91");
  CHECK(chain->account_id().hex() == "10b06974d8609b43305f3451e8d050b1dd3a6270");
  CHECK(chain->ca_id().hex() == "be01d49841d946c42c52999fd88e554e5764d25a");
  CHECK(chain->issuer_ids() == std::vector{chain->account_id(), chain->ca_id()});
  CHECK(chain->verify(kNow).ok());
  CHECK(CertificateChain::from_pem(chain->pem())->der() == chain->der());
}

TEST_CASE("a chain keeps its bytes") {
  const ByteVector der = alice_chain().der();
  const auto again = CertificateChain::from_der(der);
  REQUIRE(again);
  CHECK(again->der() == der);
  CHECK(*again == alice_chain());
  CHECK_FALSE(*again == bob_chain());
  CertificateChain copy = *again;
  copy = bob_chain();
  CHECK(copy == bob_chain());
  CHECK(CertificateChain::from_pem("text before\n" + again->pem() + "text behind\n")->der() == der);
}

TEST_CASE("a chain's parser refuses what is not whole certificates") {
  const ByteVector der = chain({device_spec(0)}).der();
  for (std::size_t n = 1; n < der.size(); ++n) {
    INFO(n);
    REQUIRE(CertificateChain::from_der(Bytes(der).first(n)).error() == Errc::kCertificateUnreadable);
  }
  CHECK(CertificateChain::from_der({}).error() == Errc::kCertificateMissing);
  CHECK(CertificateChain::from_pem("").error() == Errc::kCertificateMissing);
  CHECK(CertificateChain::from_pem("nothing here").error() == Errc::kCertificateMissing);
  CHECK(CertificateChain::from_stack(nullptr).error() == Errc::kCertificateMissing);
  const std::string pem = alice_chain().pem();
  CHECK(CertificateChain::from_pem(pem.substr(0, pem.size() - 40)).error() == Errc::kCertificateUnreadable);
  std::string bad = pem;
  bad[100] = '!';
  CHECK(CertificateChain::from_pem(bad).error() == Errc::kCertificateUnreadable);
}

TEST_CASE("a chain's parser refuses BER that is not DER") {
  // The outer SEQUENCE with a length of one byte more than it needs: 30 83 00 hi lo instead of 30 82 hi lo.
  ByteVector ber = chain({device_spec(0)}).der();
  REQUIRE(ber[1] == 0x82);
  ber[1] = 0x83;
  ber.insert(ber.begin() + 2, 0);
  CHECK(CertificateChain::from_der(ber).error() == Errc::kCertificateUnreadable);
}

TEST_CASE("a chain's length is bounded") {
  const ByteVector one = chain({device_spec(0)}).der();
  std::vector<ByteVector> many(CertificateChain::kMaxCertificates, one);
  CHECK(joined(many).size() == CertificateChain::kMaxCertificates);
  ByteVector too_many = joined(many).der();
  const std::string too_many_pem = joined(many).pem() + joined({one}).pem();
  too_many.insert(too_many.end(), one.begin(), one.end());
  CHECK(CertificateChain::from_der(too_many).error() == Errc::kTooLong);
  CHECK(CertificateChain::from_pem(too_many_pem).error() == Errc::kTooLong);
  CHECK(CertificateChain::from_der(ByteVector(CertificateChain::kMaxDerBytes + 1)).error() == Errc::kTooLong);
  CHECK(CertificateChain::from_pem(std::string(CertificateChain::kMaxPemBytes + 1, 'x')).error() == Errc::kTooLong);
}

TEST_CASE("good chains of every depth") {
  CHECK(alice_chain().verify(kNow).ok());
  CHECK_FALSE(verdict({device_spec(0), issuer_spec(1)}));
  CHECK_FALSE(verdict({device_spec(0), issuer_spec(1), issuer_spec(2), issuer_spec(3), issuer_spec(4), issuer_spec(5),
                       issuer_spec(6), issuer_spec(7)}));
  // Absent extensions permit everything; present ones may say more than is needed.
  Spec device = device_spec(0);
  device.usage.clear();
  CHECK_FALSE(verdict({device, issuer_spec(1)}));
  device.extended = "serverAuth,clientAuth";
  CHECK_FALSE(verdict({device, issuer_spec(1)}));
  device.extended = "anyExtendedKeyUsage";
  CHECK_FALSE(verdict({device, issuer_spec(1)}));
  Spec issuer = issuer_spec(1);
  issuer.usage.clear();
  CHECK_FALSE(verdict({device, issuer}));
}

TEST_CASE("ids of a certificate that stands alone are its own") {
  const CertificateChain alone = chain({issuer_spec(1)});
  CHECK(alone.account_id() == alice_chain().account_id());
  CHECK(alone.ca_id() == alone.account_id());
  CHECK(alone.issuer_ids() == std::vector{alone.account_id()});
  CHECK(verdict({device_spec(0)}) == Errc::kCertificateSelfSigned);
}

TEST_CASE("time decides at each level") {
  const std::vector<Spec> good{device_spec(0), issuer_spec(1), issuer_spec(2)};
  CHECK_FALSE(verdict(good, kValid.from_unix));
  CHECK(verdict(good, kValid.from_unix - 1) == Errc::kCertificateNotYetValid);
  CHECK_FALSE(verdict(good, kValid.until_unix - 1));
  CHECK(verdict(good, kValid.until_unix + 1) == Errc::kCertificateExpired);
  for (std::size_t level = 0; level < good.size(); ++level) {
    INFO(level);
    std::vector<Spec> specs = good;
    specs[level].validity = {kNow - 2 * kDay, kNow - kDay};
    CHECK(verdict(specs) == Errc::kCertificateExpired);
    specs[level].validity = {kNow + kDay, kNow + 2 * kDay};
    CHECK(verdict(specs) == Errc::kCertificateNotYetValid);
  }
}

TEST_CASE("an issuer must be a CA that may sign") {
  for (std::size_t level : {1U, 2U}) {
    INFO(level);
    std::vector<Spec> specs{device_spec(0), issuer_spec(1), issuer_spec(2)};
    specs[level].constraints = "critical,CA:FALSE";
    CHECK(verdict(specs) == Errc::kCertificateIssuerNotCa);
    specs[level].constraints.clear();
    CHECK(verdict(specs) == Errc::kCertificateIssuerNotCa);
    specs[level] = issuer_spec(level);
    specs[level].usage = "critical,digitalSignature";
    CHECK(verdict(specs) == Errc::kCertificateWrongUsage);
  }
  // A path length of 0 permits no CA below: RFC 5280, 4.2.1.9.
  std::vector<Spec> specs{device_spec(0), issuer_spec(1), issuer_spec(2)};
  specs[2].constraints = "critical,CA:TRUE,pathlen:0";
  CHECK(verdict(specs) == Errc::kCertificateChainBroken);
}

TEST_CASE("a device must be allowed to sign in TLS, on both sides") {
  Spec device = device_spec(0);
  device.usage = "critical,keyEncipherment";
  CHECK(verdict({device, issuer_spec(1)}) == Errc::kCertificateWrongUsage);
  for (const char* extended : {"serverAuth", "clientAuth", "codeSigning"}) {
    INFO(extended);
    device = device_spec(0);
    device.extended = extended;
    CHECK(verdict({device, issuer_spec(1)}) == Errc::kCertificateWrongUsage);
  }
}

TEST_CASE("a chain with a gap, a stranger or a forged signature is broken") {
  const CertificateChain& good = alice_chain();
  // No CA; no account; an account of another CA with the right name but another key; the wrong order.
  CHECK(joined({one_der(good, 0), one_der(good, 1)}).verify(kNow).error() == Errc::kCertificateIssuerMissing);
  CHECK(joined({one_der(good, 0), one_der(good, 2)}).verify(kNow).error() == Errc::kCertificateChainBroken);
  const CertificateChain other = chain({issuer_spec(4)});
  CHECK(joined({one_der(good, 0), other.der()}).verify(kNow).error() == Errc::kCertificateChainBroken);
  CHECK_FALSE(joined({one_der(good, 1), one_der(good, 0)}).verify(kNow).ok());
  for (std::size_t level = 0; level < good.size(); ++level) {
    INFO(level);
    std::vector<ByteVector> ders{one_der(good, 0), one_der(good, 1), one_der(good, 2)};
    ders[level].back() ^= 1;
    CHECK(joined(ders).verify(kNow).error() == Errc::kCertificateChainBroken);
  }
}

TEST_CASE("fault F: a lone leaf is told as that: its issuer is missing, no signature is wrong") {
  CHECK(joined({one_der(alice_chain(), 0)}).verify(kNow).error() == Errc::kCertificateIssuerMissing);
}

TEST_CASE("short keys and old hashes are too weak") {
  const PkeyPtr short_key(EVP_RSA_gen(1024));
  for (std::size_t level = 0; level < 3; ++level) {
    INFO(level);
    std::vector<Spec> specs{device_spec(0), issuer_spec(1), issuer_spec(2)};
    specs[level].other_key = short_key.get();
    CHECK(verdict(specs) == Errc::kCertificateTooWeak);
  }
  std::vector<Spec> specs{device_spec(0), issuer_spec(1), issuer_spec(2)};
  specs[1].digest = EVP_sha1();
  CHECK(verdict(specs) == Errc::kCertificateTooWeak);
  specs[1].digest = EVP_sha256();
  specs[2].digest = EVP_sha1();
  CHECK_FALSE(verdict(specs));
}

namespace {

/// An RSA key of which nobody has the private half.
PkeyPtr rsa_of(int modulus_bits, int exponent_bits) {
  const std::unique_ptr<BIGNUM, OpensslDeleter<BN_free>> n(BN_new());
  const std::unique_ptr<BIGNUM, OpensslDeleter<BN_free>> e(BN_new());
  REQUIRE(BN_rand(n.get(), modulus_bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD) == 1);
  REQUIRE(BN_rand(e.get(), exponent_bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD) == 1);
  const std::unique_ptr<OSSL_PARAM_BLD, OpensslDeleter<OSSL_PARAM_BLD_free>> builder(OSSL_PARAM_BLD_new());
  REQUIRE(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) == 1);
  REQUIRE(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) == 1);
  const std::unique_ptr<OSSL_PARAM, OpensslDeleter<OSSL_PARAM_free>> params(OSSL_PARAM_BLD_to_param(builder.get()));
  const std::unique_ptr<EVP_PKEY_CTX, OpensslDeleter<EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  REQUIRE(EVP_PKEY_fromdata_init(context.get()) == 1);
  REQUIRE(EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) == 1);
  return PkeyPtr(key);
}

}  // namespace

TEST_CASE("a key that would take minutes to encrypt to is too long") {
  for (const auto& [modulus, exponent, fits] : {std::tuple(16'384, 17, true), std::tuple(16'392, 17, false),
                                                std::tuple(4'096, 64, true), std::tuple(4'096, 65, false)}) {
    CAPTURE(modulus, exponent);
    const PkeyPtr key = rsa_of(modulus, exponent);
    std::vector<Spec> specs{device_spec(0), issuer_spec(1), issuer_spec(2)};
    specs[0].other_key = key.get();
    CHECK(CertificateChain::from_der(chain_der(specs)).ok() == fits);
  }
}

TEST_CASE("revocation is asked for each certificate below the top") {
  for (const std::size_t revoked : {0U, 1U}) {
    const X509* const target = alice_chain().certificate(revoked);
    const auto is_revoked = [target](const X509& certificate, const X509&) { return &certificate == target; };
    CHECK(alice_chain().verify(kNow, is_revoked).error() == Errc::kCertificateRevoked);
  }
  std::size_t asked = 0;
  const auto none = [&asked](const X509&, const X509&) { return ++asked == 0; };
  CHECK(alice_chain().verify(kNow, none).ok());
  CHECK(asked == 2);
}
