// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/proto/certificates.h"

#include <array>
#include <cassert>

#include <openssl/pem.h>
#include <openssl/rsa.h>

namespace connd::test {
namespace {

using namespace connd::proto;

X509Ptr certificate(const Spec& spec, const Spec& issuer) {
  const auto key_of = [](const Spec& s) { return s.other_key != nullptr ? s.other_key : key(s.key); };
  const auto name_of = [&key_of](X509_NAME* name, const Spec& s) {
    const std::string text = key_id_of(public_key_der_of(key_of(s))).hex();
    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                               -1, -1, 0);
  };
  X509Ptr out(X509_new());
  X509_set_version(out.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(out.get()), 7);
  name_of(X509_get_subject_name(out.get()), spec);
  X509_NAME* issuer_name = X509_NAME_new();
  name_of(issuer_name, issuer);
  X509_set_issuer_name(out.get(), issuer_name);
  X509_NAME_free(issuer_name);
  ASN1_TIME_set(X509_getm_notBefore(out.get()), spec.validity.from_unix);
  ASN1_TIME_set(X509_getm_notAfter(out.get()), spec.validity.until_unix);
  X509_set_pubkey(out.get(), key_of(spec));
  const std::array<std::pair<int, const std::string*>, 3> extensions{
      {{NID_basic_constraints, &spec.constraints}, {NID_key_usage, &spec.usage}, {NID_ext_key_usage, &spec.extended}}};
  for (const auto& [nid, value] : extensions) {
    if (value->empty()) continue;
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value->c_str());
    assert(extension != nullptr);
    X509_add_ext(out.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  const int size = X509_sign(out.get(), key_of(issuer), spec.digest);
  assert(size > 0);
  (void)size;
  return out;
}

ByteVector der(const X509Ptr& certificate) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(certificate.get(), &encoded);
  ByteVector out(encoded, encoded + size);
  OPENSSL_free(encoded);
  return out;
}

}  // namespace

EVP_PKEY* key(std::size_t i) {
  static std::array<PkeyPtr, 8> keys;
  if (keys.at(i) == nullptr) keys.at(i).reset(EVP_RSA_gen(2048));
  return keys.at(i).get();
}

std::string key_pem(std::size_t i) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key(i), nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

Spec device_spec(std::size_t key) {
  return {.key = key, .constraints = {}, .usage = "critical,digitalSignature,dataEncipherment", .extended = {}};
}

Spec issuer_spec(std::size_t key) {
  return {.key = key, .constraints = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign", .extended = {}};
}

ByteVector chain_der(const std::vector<Spec>& specs) {
  ByteVector all;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const ByteVector one = der(certificate(specs[i], specs[i + 1 < specs.size() ? i + 1 : i]));
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

CertificateChain chain(const std::vector<Spec>& specs) {
  return *CertificateChain::from_der(chain_der(specs));
}

CertificateChain joined(const std::vector<ByteVector>& ders) {
  ByteVector all;
  for (const ByteVector& one : ders) all.insert(all.end(), one.begin(), one.end());
  return *CertificateChain::from_der(all);
}

std::string crl_pem(std::size_t issuer_key, const std::vector<long>& serials, bool critical) {
  const std::unique_ptr<X509_CRL, OpensslDeleter<X509_CRL_free>> crl(X509_CRL_new());
  X509_CRL_set_version(crl.get(), 1);
  // The issuer's name as `certificate` writes it.
  const X509Ptr issuer = certificate(issuer_spec(issuer_key), issuer_spec(issuer_key));
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer.get()));
  const std::unique_ptr<ASN1_TIME, OpensslDeleter<ASN1_TIME_free>> when(ASN1_TIME_set(nullptr, kNow - kDay));
  X509_CRL_set1_lastUpdate(crl.get(), when.get());
  for (const long serial : serials) {
    X509_REVOKED* entry = X509_REVOKED_new();
    const std::unique_ptr<ASN1_INTEGER, OpensslDeleter<ASN1_INTEGER_free>> number(ASN1_INTEGER_new());
    ASN1_INTEGER_set(number.get(), serial);
    X509_REVOKED_set_serialNumber(entry, number.get());
    X509_REVOKED_set_revocationDate(entry, when.get());
    X509_CRL_add0_revoked(crl.get(), entry);
  }
  if (critical) {
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_issuing_distribution_point, "critical,onlyuser:TRUE");
    X509_CRL_add_ext(crl.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_CRL_sort(crl.get());
  X509_CRL_sign(crl.get(), key(issuer_key), EVP_sha256());
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_CRL(out.get(), crl.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

const CertificateChain& alice_chain() {
  static const CertificateChain made = chain({device_spec(0), issuer_spec(1), issuer_spec(2)});
  return made;
}

const CertificateChain& bob_chain() {
  static const CertificateChain made = chain({device_spec(3), issuer_spec(1), issuer_spec(2)});
  return made;
}

Identity identity(std::size_t key_index, const CertificateChain& chain) {
  return *Identity::load(key_pem(key_index), chain.pem());
}

}  // namespace connd::test
