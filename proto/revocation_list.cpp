// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/revocation_list.h"

#include <algorithm>

#include <openssl/err.h>
#include <openssl/pem.h>

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

bool RevocationList::revokes(const X509& certificate, const X509& issuer) const {
  if (X509_NAME_cmp(X509_CRL_get_issuer(crl_.get()), X509_get_subject_name(&issuer)) != 0) return false;
  X509_REVOKED* entry = nullptr;
  // 2: listed with the reason removeFromCRL, which is for delta lists.
  if (X509_CRL_get0_by_cert(crl_.get(), &entry, const_cast<X509*>(&certificate)) != 1) return false;
  EVP_PKEY* const key = X509_get0_pubkey(&issuer);
  const bool genuine = key != nullptr && X509_CRL_verify(crl_.get(), key) == 1;
  ERR_clear_error();
  return genuine;
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
