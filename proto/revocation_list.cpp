// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/revocation_list.h"

#include <algorithm>
#include <ctime>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "proto/device_id.h"
#include "proto/error.h"

namespace connd::proto {

namespace {

ByteVector der_of(const X509_CRL* crl) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509_CRL(crl, &encoded);
  if (size <= 0) return {};
  ByteVector out(encoded, encoded + size);
  OPENSSL_free(encoded);
  return out;
}

}  // namespace

Result<RevocationList> RevocationList::checked(CrlPtr crl) {
  ERR_clear_error();
  if (crl == nullptr) return Errc::kCertificateUnreadable;
  // RFC 5280, 5.2: "If a CRL contains a critical extension that the application cannot process, then the application
  // MUST NOT use that CRL to determine the status of certificates." None is processed here.
  if (X509_CRL_get_ext_by_critical(crl.get(), 1, -1) >= 0) return Errc::kCertificateUnreadable;
  RevocationList list(std::move(crl));
  const std::size_t size = list.der().size();
  if (size == 0) return Errc::kCertificateUnreadable;
  if (size > kMaxDerBytes) return Errc::kTooLong;
  return list;
}

Result<RevocationList> RevocationList::from_pem(std::string_view pem) {
  if (pem.size() > 2 * kMaxDerBytes) return Errc::kTooLong;
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return checked(CrlPtr(PEM_read_bio_X509_CRL(bio.get(), nullptr, no_password, nullptr)));
}

Result<RevocationList> RevocationList::from_der(Bytes der) {
  if (der.size() > kMaxDerBytes) return Errc::kTooLong;
  const unsigned char* at = der.data();
  CrlPtr crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())));
  // OpenSSL reads BER, too, of which one list has many forms: its id would not be that of its bytes.
  if (crl != nullptr && !std::ranges::equal(der_of(crl.get()), der)) crl.reset();
  return checked(std::move(crl));
}

namespace {

/// A list is signed anew when there is something to take back; this only says how old one may look.
constexpr std::int64_t kDueSeconds = std::int64_t{90} * 86'400;

using SerialPtr = std::unique_ptr<ASN1_INTEGER, OpensslDeleter<ASN1_INTEGER_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, OpensslDeleter<ASN1_TIME_free>>;
using RevokedPtr = std::unique_ptr<X509_REVOKED, OpensslDeleter<X509_REVOKED_free>>;

std::int64_t unix_time_in(const ASN1_TIME* time) {
  std::tm broken_down{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &broken_down) != 1) return 0;
  return static_cast<std::int64_t>(::timegm(&broken_down));
}

bool add_revoked(X509_CRL* crl, const ASN1_INTEGER* serial, const ASN1_TIME* when) {
  X509_REVOKED* there = nullptr;
  if (X509_CRL_get0_by_serial(crl, &there, const_cast<ASN1_INTEGER*>(serial)) != 0) return true;
  RevokedPtr entry(X509_REVOKED_new());
  const bool made = entry != nullptr &&
                    X509_REVOKED_set_serialNumber(entry.get(), const_cast<ASN1_INTEGER*>(serial)) == 1 &&
                    X509_REVOKED_set_revocationDate(entry.get(), const_cast<ASN1_TIME*>(when)) == 1;
  if (!made || X509_CRL_add0_revoked(crl, entry.get()) != 1) return false;
  (void)entry.release();  // the list's now
  return true;
}

bool set_head(X509_CRL* crl, const X509& issuer, std::uint64_t number, std::int64_t now_unix) {
  const TimePtr now(ASN1_TIME_set(nullptr, now_unix));
  const TimePtr due(ASN1_TIME_set(nullptr, now_unix + kDueSeconds));
  const SerialPtr value(ASN1_INTEGER_new());
  return now != nullptr && due != nullptr && value != nullptr && ASN1_INTEGER_set_uint64(value.get(), number) == 1 &&
         X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
         X509_CRL_set_issuer_name(crl, X509_get_subject_name(&issuer)) == 1 &&
         X509_CRL_set1_lastUpdate(crl, now.get()) == 1 && X509_CRL_set1_nextUpdate(crl, due.get()) == 1 &&
         X509_CRL_add1_ext_i2d(crl, NID_crl_number, value.get(), 0, 0) == 1;
}

}  // namespace

Result<RevocationList> RevocationList::issue(std::string_view issuer_key_pem, const X509& issuer,
                                             const RevocationList* former, const std::vector<const X509*>& taken_back,
                                             std::int64_t now_unix) {
  const BioPtr bio(BIO_new_mem_buf(issuer_key_pem.data(), static_cast<int>(issuer_key_pem.size())));
  const PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (key == nullptr) return Errc::kKeyUnreadable;
  if (X509_check_private_key(const_cast<X509*>(&issuer), key.get()) != 1) {
    ERR_clear_error();
    return Errc::kKeyMismatch;
  }
  CrlPtr crl(X509_CRL_new());
  const std::uint64_t number = former != nullptr ? former->number().value_or(0) + 1 : 1;
  bool good = crl != nullptr && set_head(crl.get(), issuer, number, now_unix);
  if (good && former != nullptr) {
    const STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(former->crl_.get());
    for (int i = 0; good && i < sk_X509_REVOKED_num(entries); ++i) {
      const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
      good = add_revoked(crl.get(), X509_REVOKED_get0_serialNumber(entry), X509_REVOKED_get0_revocationDate(entry));
    }
  }
  const TimePtr now(ASN1_TIME_set(nullptr, now_unix));
  for (const X509* certificate : taken_back) {
    good = good && add_revoked(crl.get(), X509_get0_serialNumber(certificate), now.get());
  }
  good = good && X509_CRL_sort(crl.get()) == 1 && X509_CRL_sign(crl.get(), key.get(), EVP_sha512()) > 0;
  ERR_clear_error();
  if (!good) return Errc::kKeyGenerationFailed;
  // Through its bytes: what was put together in memory has caches of its own.
  return from_der(RevocationList(std::move(crl)).der());
}

bool RevocationList::is_named_after(const X509& issuer) const {
  return X509_NAME_cmp(X509_CRL_get_issuer(crl_.get()), X509_get_subject_name(&issuer)) == 0;
}

bool RevocationList::is_signed_by(const X509& issuer) const {
  if (!is_named_after(issuer)) return false;
  EVP_PKEY* const key = X509_get0_pubkey(&issuer);
  const bool genuine = key != nullptr && X509_CRL_verify(crl_.get(), key) == 1;
  ERR_clear_error();
  return genuine;
}

std::optional<std::uint64_t> RevocationList::number() const {
  const SerialPtr value(static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl_.get(), NID_crl_number, nullptr, nullptr)));
  std::uint64_t number = 0;
  const bool fits = value != nullptr && ASN1_INTEGER_get_uint64(&number, value.get()) == 1 && number >> 63 == 0;
  ERR_clear_error();
  return fits ? std::optional(number) : std::nullopt;
}

bool RevocationList::covers(const RevocationList& other) const {
  const STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(other.crl_.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    X509_REVOKED* there = nullptr;
    auto* const serial = const_cast<ASN1_INTEGER*>(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i)));
    if (X509_CRL_get0_by_serial(crl_.get(), &there, serial) != 1) return false;
  }
  return true;
}

std::int64_t RevocationList::made_unix() const {
  return unix_time_in(X509_CRL_get0_lastUpdate(crl_.get()));
}

std::int64_t RevocationList::due_unix() const {
  return unix_time_in(X509_CRL_get0_nextUpdate(crl_.get()));
}

std::string RevocationList::pem() const {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_CRL(bio.get(), crl_.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

bool RevocationList::revokes(const X509& certificate, const X509& issuer) const {
  return claims(certificate, issuer) && is_signed_by(issuer);
}

bool RevocationList::claims(const X509& certificate, const X509& issuer) const {
  if (!is_named_after(issuer)) return false;
  X509_REVOKED* entry = nullptr;
  // 2: listed with the reason removeFromCRL, which is for delta lists.
  return X509_CRL_get0_by_cert(crl_.get(), &entry, const_cast<X509*>(&certificate)) == 1;
}

ByteVector RevocationList::der() const {
  return der_of(crl_.get());
}

std::string RevocationList::id() const {
  const ByteVector bytes = der();
  DeviceId digest;  // 32 bytes, too
  EVP_Digest(bytes.data(), bytes.size(), digest.bytes.data(), nullptr, EVP_sha256(), nullptr);
  return digest.hex();
}

std::string RevocationList::issuer() const {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_CRL_get_issuer(crl_.get()), 0, XN_FLAG_RFC2253);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::size_t RevocationList::size() const {
  const STACK_OF(X509_REVOKED)* const revoked = X509_CRL_get_REVOKED(crl_.get());
  return revoked == nullptr ? 0 : static_cast<std::size_t>(sk_X509_REVOKED_num(revoked));
}

}  // namespace connd::proto
