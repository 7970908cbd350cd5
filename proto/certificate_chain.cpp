// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/certificate_chain.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <optional>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

namespace connd::proto {
namespace {

ByteVector der_of(const X509* certificate) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(certificate, &encoded);
  if (size <= 0) return {};
  ByteVector out(encoded, encoded + size);
  OPENSSL_free(encoded);
  return out;
}

template <class Id>
Id digest_of(Bytes bytes, const EVP_MD* algorithm) {
  Id id;
  EVP_Digest(bytes.data(), bytes.size(), id.bytes.data(), nullptr, algorithm, nullptr);
  return id;
}

ByteVector spki_of(const X509* certificate) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &encoded);
  if (size <= 0) return {};
  ByteVector out(encoded, encoded + size);
  OPENSSL_free(encoded);
  return out;
}

Result<void> check_dates(const X509* certificate, std::int64_t now_unix) {
  time_t now = now_unix;
  // X509_cmp_time: negative when the time given first is earlier than `now` or equal; 0 when it cannot be read.
  const int from = X509_cmp_time(X509_get0_notBefore(certificate), &now);
  const int until = X509_cmp_time(X509_get0_notAfter(certificate), &now);
  if (from == 0 || until == 0) return Errc::kCertificateUnreadable;
  if (from > 0) return Errc::kCertificateNotYetValid;
  if (until < 0) return Errc::kCertificateExpired;
  return {};
}

std::optional<std::int64_t> unix_time_of(const ASN1_TIME* time) {
  std::tm broken_down{};
  if (ASN1_TIME_to_tm(time, &broken_down) != 1) return std::nullopt;
  return static_cast<std::int64_t>(::timegm(&broken_down));
}

// RFC 5280, 4.2.1.3 and 4.2.1.12: an extension that is absent permits everything.
Result<void> check_leaf_usage(X509* leaf) {
  if ((X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) == 0) return Errc::kCertificateWrongUsage;
  const std::uint32_t extended = X509_get_extended_key_usage(leaf);
  const std::uint32_t both = XKU_SSL_CLIENT | XKU_SSL_SERVER;
  if ((extended & XKU_ANYEKU) == 0 && (extended & both) != both) return Errc::kCertificateWrongUsage;
  return {};
}

// RFC 5280, 4.2.1.9: "conforming CAs MUST include this extension in all CA certificates", with cA TRUE.
Result<void> check_issuer_usage(X509* issuer) {
  if ((X509_get_extension_flags(issuer) & EXFLAG_CA) == 0) return Errc::kCertificateIssuerNotCa;
  if ((X509_get_key_usage(issuer) & KU_KEY_CERT_SIGN) == 0) return Errc::kCertificateWrongUsage;
  return {};
}

Result<void> check_signature(X509* certificate, X509* issuer) {
  if (X509_NAME_cmp(X509_get_issuer_name(certificate), X509_get_subject_name(issuer)) != 0) {
    // The topmost has to be its own issuer.
    return certificate == issuer ? Errc::kCertificateIssuerMissing : Errc::kCertificateChainBroken;
  }
  EVP_PKEY* key = X509_get0_pubkey(issuer);
  const bool signature_holds = key != nullptr && X509_verify(certificate, key) == 1;
  ERR_clear_error();
  if (!signature_holds) return Errc::kCertificateChainBroken;
  return {};
}

/// What OpenSSL itself refuses to encrypt to (OPENSSL_RSA_MAX_MODULUS_BITS, _PUBEXP_BITS), for an operation with it
/// would take minutes.
bool is_oversized(const EVP_PKEY* key) {
  if (key == nullptr || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) return false;
  BIGNUM* exponent = nullptr;
  if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) != 1) return true;
  const int bits = BN_num_bits(exponent);
  BN_free(exponent);
  return EVP_PKEY_get_bits(key) > OPENSSL_RSA_MAX_MODULUS_BITS || bits > OPENSSL_RSA_MAX_PUBEXP_BITS;
}

Result<void> check_strength(X509* certificate, bool is_top) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) return Errc::kCertificateUnreadable;
  if (EVP_PKEY_get_security_bits(key) < kMinSecurityBits) return Errc::kCertificateTooWeak;
  int signature_bits = 0;
  // Nobody relies on the top's signature: its key is what is trusted.
  if (!is_top && X509_get_signature_info(certificate, nullptr, nullptr, &signature_bits, nullptr) == 1 &&
      signature_bits < kMinSecurityBits) {
    return Errc::kCertificateTooWeak;
  }
  return {};
}

}  // namespace

Result<CertificateChain> CertificateChain::bounded(std::vector<X509Ptr> certificates) {
  if (certificates.empty()) return Errc::kCertificateMissing;
  if (certificates.size() > kMaxCertificates) return Errc::kTooLong;
  std::size_t total = 0;
  for (const X509Ptr& certificate : certificates) {
    const ByteVector der = der_of(certificate.get());
    if (der.empty() || spki_of(certificate.get()).empty()) return Errc::kCertificateUnreadable;
    if (is_oversized(X509_get0_pubkey(certificate.get()))) return Errc::kTooLong;
    total += der.size();
    // Parses and caches the extensions now, while this thread is the only owner.
    X509_check_purpose(certificate.get(), -1, 0);
  }
  ERR_clear_error();
  if (total > kMaxDerBytes) return Errc::kTooLong;
  return CertificateChain(std::move(certificates));
}

Result<CertificateChain> CertificateChain::from_pem(std::string_view pem) {
  if (pem.size() > kMaxPemBytes) return Errc::kTooLong;
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<X509Ptr> certificates;
  while (certificates.size() <= kMaxCertificates) {
    X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
    if (certificate == nullptr) break;
    certificates.push_back(std::move(certificate));
  }
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  const bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (certificates.size() <= kMaxCertificates && !at_end) return Errc::kCertificateUnreadable;
  return bounded(std::move(certificates));
}

Result<CertificateChain> CertificateChain::from_der(Bytes der) {
  if (der.size() > kMaxDerBytes) return Errc::kTooLong;
  std::vector<X509Ptr> certificates;
  const unsigned char* at = der.data();
  const unsigned char* const end = at + der.size();
  while (at != end) {
    if (certificates.size() == kMaxCertificates) return Errc::kTooLong;
    const unsigned char* const begin = at;
    X509Ptr certificate(d2i_X509(nullptr, &at, end - at));
    if (certificate == nullptr) {
      ERR_clear_error();
      return Errc::kCertificateUnreadable;
    }
    const ByteVector again = der_of(certificate.get());
    if (!std::equal(begin, at, again.begin(), again.end())) return Errc::kCertificateUnreadable;
    certificates.push_back(std::move(certificate));
  }
  return bounded(std::move(certificates));
}

Result<CertificateChain> CertificateChain::from_stack(const STACK_OF(X509) * stack) {
  std::vector<X509Ptr> certificates;
  const int count = sk_X509_num(stack);  // -1 for a null stack
  if (count > static_cast<int>(kMaxCertificates)) return Errc::kTooLong;
  if (count > 0) certificates.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) certificates.push_back(share(sk_X509_value(stack, i)));
  return bounded(std::move(certificates));
}

Result<CertificateChain> CertificateChain::issuers() const {
  std::vector<X509Ptr> above;
  for (std::size_t i = 1; i < size(); ++i) above.push_back(share(certificate(i)));
  return bounded(std::move(above));
}

CertificateChain::CertificateChain(const CertificateChain& other) {
  certificates_.reserve(other.size());
  for (const X509Ptr& certificate : other.certificates_) certificates_.push_back(share(certificate.get()));
}

CertificateChain& CertificateChain::operator=(const CertificateChain& other) {
  if (this != &other) *this = CertificateChain(other);
  return *this;
}

std::string CertificateChain::pem() const {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  for (const X509Ptr& certificate : certificates_) PEM_write_bio_X509(bio.get(), certificate.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

ByteVector CertificateChain::der() const {
  ByteVector out;
  for (const X509Ptr& certificate : certificates_) {
    const ByteVector one = der_of(certificate.get());
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

DeviceId device_id_of(Bytes public_key_der) {
  return digest_of<DeviceId>(public_key_der, EVP_sha256());
}

ShortDeviceId short_device_id_of(Bytes public_key_der) {
  return digest_of<ShortDeviceId>(public_key_der, EVP_sha1());
}

DeviceId CertificateChain::device_id() const {
  return device_id_of(public_key_der());
}

ShortDeviceId CertificateChain::short_device_id() const {
  return short_device_id_of(public_key_der());
}

AccountId CertificateChain::account_id() const {
  return key_id_of(spki_of(certificate(size() > 1 ? 1 : 0)));
}

AccountId CertificateChain::ca_id() const {
  return key_id_of(spki_of(certificates_.back().get()));
}

std::vector<AccountId> CertificateChain::issuer_ids() const {
  std::vector<AccountId> ids{account_id()};
  for (std::size_t i = 2; i < size(); ++i) ids.push_back(key_id_of(spki_of(certificate(i))));
  return ids;
}

ByteVector CertificateChain::public_key_der() const {
  return spki_of(certificate(0));
}

Result<void> CertificateChain::verify(std::int64_t now_unix, const IsRevoked& is_revoked) const {
  for (std::size_t i = 0; i < size(); ++i) {
    X509* const own = certificate(i);
    const bool is_top = i + 1 == size();
    X509* const issuer = is_top ? own : certificate(i + 1);
    if ((X509_get_extension_flags(own) & EXFLAG_INVALID) != 0) return Errc::kCertificateUnreadable;
    if (auto r = check_dates(own, now_unix); !r) return r;
    if (auto r = i == 0 ? check_leaf_usage(own) : check_issuer_usage(own); !r) return r;
    if (auto r = check_strength(own, is_top); !r) return r;
    if (auto r = check_signature(own, issuer); !r) return r;
    if (is_revoked && !is_top && is_revoked(*own, *issuer)) return Errc::kCertificateRevoked;
  }
  if (size() == 1) return Errc::kCertificateSelfSigned;
  return verify_by_path_rules(now_unix);
}

Result<Validity> CertificateChain::validity() const {
  Validity all{std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
  for (std::size_t i = 0; i < size(); ++i) {
    const auto from = unix_time_of(X509_get0_notBefore(certificate(i)));
    const auto until = unix_time_of(X509_get0_notAfter(certificate(i)));
    if (!from || !until) return Errc::kCertificateUnreadable;
    all.from_unix = std::max(all.from_unix, *from);
    all.until_unix = std::min(all.until_unix, *until);
  }
  return all;
}

bool CertificateChain::has_revoked(const IsRevoked& is_revoked) const {
  for (std::size_t i = 0; i + 1 < size(); ++i) {
    if (is_revoked(*certificate(i), *certificate(i + 1))) return true;
  }
  return false;
}

// What the checks above leave open - path lengths, name constraints, unknown critical extensions - is OpenSSL's to
// judge. It comes last, since it cannot say as precisely what is wrong.
Result<void> CertificateChain::verify_by_path_rules(std::int64_t now_unix) const {
  const X509StorePtr store(X509_STORE_new());
  const X509StoreCtxPtr context(X509_STORE_CTX_new());
  STACK_OF(X509)* const untrusted = sk_X509_new_null();
  for (const X509Ptr& one : certificates_) sk_X509_push(untrusted, one.get());
  X509_STORE_add_cert(store.get(), certificates_.back().get());
  X509_STORE_CTX_init(context.get(), store.get(), certificate(0), untrusted);
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, now_unix);
  X509_VERIFY_PARAM_set_depth(parameters, static_cast<int>(kMaxCertificates));
  const bool valid = X509_verify_cert(context.get()) == 1;
  sk_X509_free(untrusted);
  ERR_clear_error();
  if (!valid) return Errc::kCertificateChainBroken;
  return {};
}

bool operator==(const CertificateChain& a, const CertificateChain& b) {
  return a.der() == b.der();
}

ByteVector public_key_der_of(const EVP_PKEY* key) {
  unsigned char* encoded = nullptr;
  const int size = i2d_PUBKEY(key, &encoded);
  if (size <= 0) return {};
  ByteVector out(encoded, encoded + size);
  OPENSSL_free(encoded);
  return out;
}

bool is_usable_key(Bytes public_key_der) {
  const unsigned char* at = public_key_der.data();
  const PkeyPtr key(d2i_PUBKEY(nullptr, &at, static_cast<long>(public_key_der.size())));
  ERR_clear_error();
  return key != nullptr && !is_oversized(key.get());
}

AccountId key_id_of(Bytes public_key_der) {
  return digest_of<AccountId>(public_key_der, EVP_sha1());
}

}  // namespace connd::proto
