// SPDX-License-Identifier: GPL-3.0-or-later
/// RevocationList: a certificate revocation list (CRL, RFC 5280, section 5): which certificates an issuer takes back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/bytes.h"
#include "proto/openssl_ptr.h"
#include "proto/result.h"

namespace connd::proto {

/// A value that is never changed once made. Nobody vouches for what it says until `revokes` has checked its signature
/// against the issuer's key.
class RevocationList {
 public:
  /// About 10,000 revoked certificates; as PEM it fits into one line of the local API.
  static constexpr std::size_t kMaxDerBytes = std::size_t{384} * 1024;

  /// Errors: kCertificateUnreadable (no list, or one that cuts its own meaning down by critical extensions, such as a
  /// delta list), kTooLong.
  static Result<RevocationList> from_pem(std::string_view pem);
  static Result<RevocationList> from_der(Bytes der);

  /// Whether this list is `issuer`'s, truly signed by it, and has `certificate`. A list whose next update is overdue
  /// still counts: what was revoked stays so.
  [[nodiscard]] bool revokes(const X509& certificate, const X509& issuer) const;
  /// The same but for the signature: what it says, in the issuer's name, whoever made it.
  [[nodiscard]] bool claims(const X509& certificate, const X509& issuer) const;

  /// A list by `issuer`, whose key in PEM that is, of all that `former` has (null: nothing), and these certificates;
  /// its number is one more than that of `former`. Times are seconds since 1970. Errors: kKeyUnreadable, kKeyMismatch
  /// (not the issuer's key), kKeyGenerationFailed (OpenSSL failed), kTooLong.
  static Result<RevocationList> issue(std::string_view issuer_key_pem, const X509& issuer, const RevocationList* former,
                                      const std::vector<const X509*>& taken_back, std::int64_t now_unix);

  /// Whether its issuer has that one's name; whose it truly is says the signature.
  [[nodiscard]] bool is_named_after(const X509& issuer) const;
  /// Whether it is `issuer`'s, truly signed by it.
  [[nodiscard]] bool is_signed_by(const X509& issuer) const;
  /// Its number (RFC 5280, 5.2.3): of two lists of one issuer the later one has the greater. Nothing: it has none, or
  /// one that fits into no 63 bits.
  [[nodiscard]] std::optional<std::uint64_t> number() const;
  /// Whether all that `other` takes back is taken back here too.
  [[nodiscard]] bool covers(const RevocationList& other) const;
  /// Seconds since 1970: when it was made; when it says that there is a newer one, 0 if it does not say.
  [[nodiscard]] std::int64_t made_unix() const;
  [[nodiscard]] std::int64_t due_unix() const;

  [[nodiscard]] std::string pem() const;
  [[nodiscard]] ByteVector der() const;
  /// SHA-256 of the DER, in hex.
  [[nodiscard]] std::string id() const;
  /// The issuer's name in one line (RFC 2253).
  [[nodiscard]] std::string issuer() const;
  [[nodiscard]] std::size_t size() const;

 private:
  using CrlPtr = std::unique_ptr<X509_CRL, OpensslDeleter<X509_CRL_free>>;
  explicit RevocationList(CrlPtr crl) : crl_(std::move(crl)) {}
  static Result<RevocationList> checked(CrlPtr crl);
  CrlPtr crl_;
};

}  // namespace connd::proto
