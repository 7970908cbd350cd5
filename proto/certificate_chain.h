// SPDX-License-Identifier: GPL-3.0-or-later
/// CertificateChain: a device's certificate and those above it.
///
/// Leaf first: device <- account <- CA, or device <- self-signed account. It is what a device publishes on the DHT and
/// presents in TLS, and what every id of a device and of its account is computed from.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/bytes.h"
#include "proto/device_id.h"
#include "proto/openssl_ptr.h"
#include "proto/result.h"

namespace connd::proto {

/// Weaker keys and signatures are refused: "level 2" of OpenSSL, and what NIST SP 800-57 asks for until 2030.
inline constexpr int kMinSecurityBits = 112;

/// Whether `issuer` has revoked `certificate`; the place where CRLs come in.
using IsRevoked = std::function<bool(const X509& certificate, const X509& issuer)>;

struct Validity {
  std::int64_t from_unix;   ///< seconds since 1970
  std::int64_t until_unix;  ///< seconds since 1970; of what is made anew, later than `from_unix`
};

/// A value: never empty, never changed once made; copies share the parsed certificates, whose count is atomic, so that
/// copies may be used on different threads. Parsing checks the form alone; call `verify` before believing any of it.
class CertificateChain {
 public:
  /// Jami's chains have two or three certificates; more only makes room for other people's intermediate CAs.
  static constexpr std::size_t kMaxCertificates = 8;
  /// Eight certificates of RSA-4096 take about 12 KiB.
  static constexpr std::size_t kMaxDerBytes = std::size_t{32} * 1024;
  /// Base64, armour, and some text between the certificates.
  static constexpr std::size_t kMaxPemBytes = std::size_t{64} * 1024;

  /// From PEM, leaf first; text between certificates is ignored, other PEM objects are not looked at.
  /// Errors: kCertificateMissing (none in it), kCertificateUnreadable, kTooLong (a bound above is passed).
  static Result<CertificateChain> from_pem(std::string_view pem);
  /// From DER certificates one behind the other, leaf first, as on the DHT. BER that is not DER is refused, because the
  /// chain presented in TLS must be byte-identical to the published one. Errors: as from_pem.
  static Result<CertificateChain> from_der(Bytes der);
  /// From certificates as TLS received them, leaf first; they are shared, the stack stays the caller's.
  static Result<CertificateChain> from_stack(const STACK_OF(X509) * stack);

  CertificateChain(const CertificateChain& other);
  CertificateChain& operator=(const CertificateChain& other);
  CertificateChain(CertificateChain&&) noexcept = default;
  CertificateChain& operator=(CertificateChain&&) noexcept = default;
  ~CertificateChain() = default;

  [[nodiscard]] std::size_t size() const { return certificates_.size(); }
  /// The `i`-th certificate, 0 being the leaf; owned by the chain.
  [[nodiscard]] X509* certificate(std::size_t i) const { return certificates_[i].get(); }

  /// The direct issuer's chain: all but the leaf. Errors: kCertificateMissing (the leaf stands alone).
  [[nodiscard]] Result<CertificateChain> issuers() const;

  [[nodiscard]] std::string pem() const;
  /// Byte-identical to what was parsed.
  [[nodiscard]] ByteVector der() const;

  /// SHA-256 of the leaf's SubjectPublicKeyInfo.
  [[nodiscard]] DeviceId device_id() const;
  /// SHA-1 of the same.
  [[nodiscard]] ShortDeviceId short_device_id() const;
  /// SHA-1 key id of the direct issuer; the leaf's own when it stands alone.
  [[nodiscard]] AccountId account_id() const;
  /// SHA-1 key id of the topmost certificate.
  [[nodiscard]] AccountId ca_id() const;
  /// Key ids of all issuers from the account up to the CA: whoever trusts or bans one of them means this device too.
  [[nodiscard]] std::vector<AccountId> issuer_ids() const;
  /// The leaf's SubjectPublicKeyInfo in DER.
  [[nodiscard]] ByteVector public_key_der() const;

  /// Checks the chain as a TLS peer's at `now_unix` (seconds since 1970): every certificate is signed by the next, the
  /// last by itself; all are valid at that time; issuers are CAs that may sign certificates; the leaf may sign in TLS
  /// on both sides; keys and signatures have at least 112 bits of security (RSA-2048, SHA-256). RFC 5280, section 6.
  ///
  /// Errors, the lowest certificate's first: kCertificateNotYetValid, kCertificateExpired, kCertificateWrongUsage,
  /// kCertificateIssuerNotCa, kCertificateSelfSigned (a leaf that stands alone), kCertificateTooWeak,
  /// kCertificateChainBroken, kCertificateRevoked, and kCertificateUnreadable for extensions that contradict each
  /// other. `is_revoked`, where given, is asked for each certificate below the top, once its issuer's signature was
  /// checked.
  Result<void> verify(std::int64_t now_unix, const IsRevoked& is_revoked = {}) const;

  /// When all certificates are valid at once: `verify` finds no fault with dates from `from_unix` to just before
  /// `until_unix`, which may be no time at all. Errors: kCertificateUnreadable.
  [[nodiscard]] Result<Validity> validity() const;

  /// Whether any certificate below the top is.
  [[nodiscard]] bool has_revoked(const IsRevoked& is_revoked) const;

  /// Byte by byte.
  friend bool operator==(const CertificateChain& a, const CertificateChain& b);

 private:
  explicit CertificateChain(std::vector<X509Ptr> certificates) : certificates_(std::move(certificates)) {}
  static Result<CertificateChain> bounded(std::vector<X509Ptr> certificates);
  Result<void> verify_by_path_rules(std::int64_t now_unix) const;

  std::vector<X509Ptr> certificates_;
};

/// DER of a key's SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7); empty when OpenSSL cannot encode it.
ByteVector public_key_der_of(const EVP_PKEY* key);
/// SHA-1 key id of a SubjectPublicKeyInfo in DER.
AccountId key_id_of(Bytes public_key_der);

/// Whether a SubjectPublicKeyInfo in DER is a key to encrypt to: it can be read, and is no longer than what OpenSSL
/// itself takes (with an oversized one it would take minutes).
bool is_usable_key(Bytes public_key_der);

/// The ids of a public key, given as its SubjectPublicKeyInfo in DER.
DeviceId device_id_of(Bytes public_key_der);
ShortDeviceId short_device_id_of(Bytes public_key_der);

}  // namespace connd::proto
