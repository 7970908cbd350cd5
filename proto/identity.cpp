// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/identity.h"

#include <optional>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

namespace connd::proto {
namespace {

// Below, no security; above, OpenSSL refuses to use the key in TLS, and generation takes minutes.
constexpr unsigned kMinRsaBits = 2048;
constexpr unsigned kMaxRsaBits = 16384;
// A key of kMaxRsaBits is 13 KB of PEM.
constexpr std::size_t kMaxKeyPemBytes = std::size_t{32} * 1024;
// RFC 5280, 4.1.2.2: serial numbers are positive and at most 20 octets; 16 random ones never repeat.
constexpr int kSerialBytes = 16;

PkeyPtr read_key(std::string_view pem) {
  if (pem.size() > kMaxKeyPemBytes) return nullptr;
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  return key;
}

std::optional<SecretText> write_key(const EVP_PKEY* key) {
  // A secure-memory BIO wipes what it frees, also the smaller buffers that it outgrew.
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) return std::nullopt;
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return SecretText(std::string_view(text, static_cast<std::size_t>(size)));
}

PkeyPtr make_key(unsigned rsa_bits) {
  if (rsa_bits < kMinRsaBits || rsa_bits > kMaxRsaBits) return nullptr;
  PkeyPtr key(EVP_RSA_gen(rsa_bits));
  ERR_clear_error();
  return key;
}

bool same_key(const EVP_PKEY* a, const EVP_PKEY* b) {
  return a != nullptr && b != nullptr && EVP_PKEY_eq(a, b) == 1;
}

struct CertificateRequest {
  EVP_PKEY* subject_key;
  const std::string& name;
  EVP_PKEY* issuer_key;
  X509* issuer;  // nullptr: self-signed
  bool is_ca;
  Validity validity;
};

bool set_serial(X509* certificate) {
  unsigned char bytes[kSerialBytes];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7f) | 0x40);  // positive, and of fixed length
  BIGNUM* const number = BN_bin2bn(bytes, sizeof bytes, nullptr);
  const bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

// The key id as UID keeps the names of two keys apart whatever their common names are: issuers are found by name.
bool set_subject(X509* certificate, const std::string& name, const AccountId& key_id) {
  X509_NAME* const subject = X509_get_subject_name(certificate);
  const std::string uid = key_id.hex();
  const auto add = [subject](int nid, const std::string& value) {
    return X509_NAME_add_entry_by_NID(subject, nid, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  return add(NID_commonName, name) && add(NID_userId, uid);
}

bool add_extension(X509* certificate, X509V3_CTX* context, int nid, const char* value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, context, nid, value);
  const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

// The subject key identifier is the same SHA-1 of the whole SubjectPublicKeyInfo that OpenDHT calls the key's id.
bool add_key_identifier(X509* certificate, const AccountId& key_id) {
  ASN1_OCTET_STRING* const octets = ASN1_OCTET_STRING_new();
  const bool added = ASN1_OCTET_STRING_set(octets, key_id.bytes.data(), static_cast<int>(key_id.bytes.size())) == 1 &&
                     X509_add1_ext_i2d(certificate, NID_subject_key_identifier, octets, 0, X509V3_ADD_DEFAULT) == 1;
  ASN1_OCTET_STRING_free(octets);
  return added;
}

bool add_extensions(X509* certificate, const CertificateRequest& request, const AccountId& key_id) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, request.issuer != nullptr ? request.issuer : certificate, certificate, nullptr, nullptr, 0);
  const char* const constraints = request.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE";
  // Devices sign (TLS) and have DHT values encrypted to their key.
  const char* const usage = request.is_ca ? "critical,keyCertSign,cRLSign"  //
                                          : "critical,digitalSignature,keyEncipherment,dataEncipherment";
  return add_key_identifier(certificate, key_id) &&
         add_extension(certificate, &context, NID_authority_key_identifier, "keyid:always") &&
         add_extension(certificate, &context, NID_basic_constraints, constraints) &&
         add_extension(certificate, &context, NID_key_usage, usage);
}

X509Ptr make_certificate(const CertificateRequest& request) {
  X509Ptr certificate(X509_new());
  X509* const raw = certificate.get();
  const AccountId key_id = key_id_of(public_key_der_of(request.subject_key));
  const bool made = request.validity.from_unix < request.validity.until_unix && X509_set_version(raw, 2) == 1 &&
                    set_serial(raw) && set_subject(raw, request.name, key_id) &&
                    X509_set_issuer_name(raw, X509_get_subject_name(request.issuer ? request.issuer : raw)) == 1 &&
                    ASN1_TIME_set(X509_getm_notBefore(raw), request.validity.from_unix) != nullptr &&
                    ASN1_TIME_set(X509_getm_notAfter(raw), request.validity.until_unix) != nullptr &&
                    X509_set_pubkey(raw, request.subject_key) == 1 && add_extensions(raw, request, key_id) &&
                    X509_sign(raw, request.issuer_key, EVP_sha512()) > 0;
  ERR_clear_error();
  if (!made) return nullptr;
  return certificate;
}

// Through DER, so that every chain in the project has been parsed, and is what a peer will see.
Result<CertificateChain> chain_of(const X509* first, const ByteVector& above) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(first, &encoded);
  if (size <= 0) return Errc::kKeyGenerationFailed;
  ByteVector der(encoded, encoded + size);
  OPENSSL_free(encoded);
  der.insert(der.end(), above.begin(), above.end());
  return CertificateChain::from_der(der);
}

}  // namespace

Result<Identity> Identity::load(std::string_view key_pem, std::string_view chain_pem) {
  auto key = read_key(key_pem);
  if (key == nullptr || EVP_PKEY_is_a(key.get(), "RSA") != 1) return Errc::kKeyUnreadable;
  auto chain = CertificateChain::from_pem(chain_pem);
  if (!chain) return chain.error();
  if (!same_key(X509_get0_pubkey(chain->certificate(0)), key.get())) return Errc::kKeyMismatch;
  return Identity{std::move(key), *std::move(chain)};
}

Result<GeneratedIdentity> generate_identity(const IdentityOptions& options) {
  const PkeyPtr ca_key = make_key(options.rsa_bits);
  const PkeyPtr account_key = make_key(options.rsa_bits);
  const PkeyPtr device_key = make_key(options.rsa_bits);
  if (!ca_key || !account_key || !device_key) return Errc::kKeyGenerationFailed;

  const X509Ptr ca = make_certificate({ca_key.get(), options.ca_name, ca_key.get(), nullptr, true, options.validity});
  if (!ca) return Errc::kKeyGenerationFailed;
  const X509Ptr account =
      make_certificate({account_key.get(), options.account_name, ca_key.get(), ca.get(), true, options.validity});
  if (!account) return Errc::kKeyGenerationFailed;
  const X509Ptr device = make_certificate(
      {device_key.get(), options.device_name, account_key.get(), account.get(), false, options.validity});
  if (!device) return Errc::kKeyGenerationFailed;

  const auto ca_chain = chain_of(ca.get(), {});
  if (!ca_chain) return ca_chain.error();
  const auto account_chain = chain_of(account.get(), ca_chain->der());
  if (!account_chain) return account_chain.error();
  const auto chain = chain_of(device.get(), account_chain->der());
  if (!chain) return chain.error();

  auto ca_pem = write_key(ca_key.get());
  auto account_pem = write_key(account_key.get());
  auto device_pem = write_key(device_key.get());
  if (!ca_pem || !account_pem || !device_pem) return Errc::kKeyGenerationFailed;
  return GeneratedIdentity{std::move(*ca_pem), std::move(*account_pem), std::move(*device_pem), chain->pem()};
}

Result<SecretText> generate_private_key(unsigned rsa_bits) {
  const PkeyPtr key = make_key(rsa_bits);
  if (!key) return Errc::kKeyGenerationFailed;
  auto pem = write_key(key.get());
  if (!pem) return Errc::kKeyGenerationFailed;
  return std::move(*pem);
}

Result<ByteVector> public_key_der_from(std::string_view private_key_pem) {
  const PkeyPtr key = read_key(private_key_pem);
  if (!key) return Errc::kKeyUnreadable;
  return public_key_der_of(key.get());
}

Result<CertificateChain> issue_device_certificate(std::string_view account_key_pem,
                                                  const CertificateChain& account_chain, Bytes device_public_key_der,
                                                  const std::string& device_name, Validity validity) {
  const PkeyPtr account_key = read_key(account_key_pem);
  const unsigned char* at = device_public_key_der.data();
  const PkeyPtr device_key(d2i_PUBKEY(nullptr, &at, static_cast<long>(device_public_key_der.size())));
  ERR_clear_error();
  if (!account_key || !device_key || EVP_PKEY_is_a(device_key.get(), "RSA") != 1) return Errc::kKeyUnreadable;
  X509* const account = account_chain.certificate(0);
  if (!same_key(X509_get0_pubkey(account), account_key.get())) return Errc::kKeyMismatch;
  const X509Ptr device = make_certificate({device_key.get(), device_name, account_key.get(), account, false, validity});
  if (!device) return Errc::kKeyGenerationFailed;
  return chain_of(device.get(), account_chain.der());
}

}  // namespace connd::proto
