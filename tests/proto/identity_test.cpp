// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/identity.h"

#include <catch2/catch.hpp>
#include <openssl/pem.h>

#include "tests/proto/certificates.h"

using namespace connd::proto;
using namespace connd::test;

namespace {

const IdentityOptions kOptions{
    .rsa_bits = 2048, .ca_name = "ca", .account_name = "account", .device_name = "device", .validity = kValid};

const GeneratedIdentity& generated() {
  static const GeneratedIdentity made = *generate_identity(kOptions);
  return made;
}

std::string encrypted_pem() {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key(0), EVP_aes_256_cbc(), "secret", 6, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace

TEST_CASE("a generated identity is loaded, valid, and as wide as asked") {
  const auto made = Identity::load(generated().device_key_pem.view(), generated().chain_pem);
  REQUIRE(made);
  CHECK(made->chain.size() == 3);
  CHECK(made->chain.verify(kNow).ok());
  CHECK(EVP_PKEY_get_bits(made->key.get()) == 2048);
  CHECK(made->chain.verify(kValid.until_unix + 1).error() == Errc::kCertificateExpired);
  // The account's and the CA's keys are the ones handed out, each a key of its own.
  CHECK(key_id_of(*public_key_der_from(generated().account_key_pem.view())) == made->chain.account_id());
  CHECK(key_id_of(*public_key_der_from(generated().ca_key_pem.view())) == made->chain.ca_id());
  CHECK(*public_key_der_from(generated().device_key_pem.view()) == made->chain.public_key_der());
  CHECK(made->chain.account_id() != made->chain.ca_id());
  CHECK(generated().device_key_pem.view().starts_with("-----BEGIN PRIVATE KEY-----"));  // PKCS#8
}

TEST_CASE("generated certificates are X.509 v3 with identifiers, random serials and SHA-512 signatures") {
  const auto made = Identity::load(generated().device_key_pem.view(), generated().chain_pem);
  REQUIRE(made);
  for (std::size_t i = 0; i < made->chain.size(); ++i) {
    INFO(i);
    X509* const one = made->chain.certificate(i);
    X509* const issuer = made->chain.certificate(i + 1 < made->chain.size() ? i + 1 : i);
    CHECK(X509_get_version(one) == 2);
    CHECK(X509_get_signature_nid(one) == NID_sha512WithRSAEncryption);
    CHECK(ASN1_STRING_length(X509_get0_serialNumber(one)) == 16);
    REQUIRE(X509_get0_subject_key_id(one) != nullptr);
    REQUIRE(X509_get0_authority_key_id(one) != nullptr);
    CHECK(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(one), X509_get0_subject_key_id(issuer)) == 0);
    CHECK(((X509_get_extension_flags(one) & EXFLAG_CA) != 0) == (i > 0));
  }
  const ASN1_OCTET_STRING* const id = X509_get0_subject_key_id(made->chain.certificate(0));
  CHECK(to_hex({ASN1_STRING_get0_data(id), 20}) == made->chain.short_device_id().hex());
}

TEST_CASE("generation refuses options that make no sense") {
  IdentityOptions options = kOptions;
  options.rsa_bits = 1024;
  CHECK(generate_identity(options).error() == Errc::kKeyGenerationFailed);
  options = kOptions;
  options.validity = {kNow, kNow};
  CHECK(generate_identity(options).error() == Errc::kKeyGenerationFailed);
  CHECK(generate_private_key(20'000).error() == Errc::kKeyGenerationFailed);
}

TEST_CASE("load refuses what it cannot use") {
  const std::string pem = alice_chain().pem();
  CHECK(Identity::load(key_pem(0), pem).ok());
  CHECK(Identity::load(key_pem(1), pem).error() == Errc::kKeyMismatch);
  CHECK(Identity::load("", pem).error() == Errc::kKeyUnreadable);
  CHECK(Identity::load("garbage", pem).error() == Errc::kKeyUnreadable);
  CHECK(Identity::load(encrypted_pem(), pem).error() == Errc::kKeyUnreadable);
  CHECK(Identity::load(std::string(1'000'000, 'x'), pem).error() == Errc::kKeyUnreadable);
  CHECK(Identity::load(key_pem(0).substr(0, 400), pem).error() == Errc::kKeyUnreadable);
  CHECK(Identity::load(key_pem(0), "").error() == Errc::kCertificateMissing);
  // OpenDHT encrypts to RSA keys only.
  const PkeyPtr ec(EVP_EC_gen("P-256"));
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), ec.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  CHECK(Identity::load({text, static_cast<std::size_t>(size)}, pem).error() == Errc::kKeyUnreadable);
}

TEST_CASE("an account certifies a further device") {
  const auto account = CertificateChain::from_pem(generated().chain_pem);
  REQUIRE(account);
  const auto above = account->issuers();
  REQUIRE(above);
  CHECK(above->size() == 2);
  CHECK(above->device_id().hex() != account->device_id().hex());
  CHECK(above->account_id() == account->ca_id());
  CHECK(above->issuers()->issuers().error() == Errc::kCertificateMissing);

  const auto device_key = generate_private_key(2048);
  REQUIRE(device_key);
  const ByteVector public_key = *public_key_der_from(device_key->view());
  const auto made = issue_device_certificate(generated().account_key_pem.view(), *above, public_key, "second", kValid);
  REQUIRE(made);
  CHECK(made->verify(kNow).ok());
  CHECK(made->account_id() == account->account_id());
  CHECK(made->device_id() != account->device_id());
  CHECK(Identity::load(device_key->view(), made->pem()).ok());

  CHECK(issue_device_certificate(generated().ca_key_pem.view(), *above, public_key, "x", kValid).error() ==
        Errc::kKeyMismatch);
  CHECK(issue_device_certificate("", *above, public_key, "x", kValid).error() == Errc::kKeyUnreadable);
  CHECK(issue_device_certificate(generated().account_key_pem.view(), *above, Bytes(public_key).first(50), "x", kValid)
            .error() == Errc::kKeyUnreadable);
  // RFC 5280: a common name has at most 64 characters.
  CHECK(issue_device_certificate(generated().account_key_pem.view(), *above, public_key, std::string(65, 'x'), kValid)
            .error() == Errc::kKeyGenerationFailed);
}

TEST_CASE("secret text moves and copies") {
  SecretText a("0123456789012345678901234567890123456789");
  SecretText b = a;
  SecretText c = std::move(a);
  CHECK(b.view() == c.view());
  CHECK(a.empty());  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
  a = b;
  CHECK(a.view() == c.view());
}
