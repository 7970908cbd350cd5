// SPDX-License-Identifier: GPL-3.0-or-later
/// Identity: a device's private key and its certificate chain; and how they are made.
///
/// Nothing here has global state: all of it may run on any thread, and key generation, which takes seconds at 4096
/// bits, belongs on one that nobody waits for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/bytes.h"
#include "proto/certificate_chain.h"
#include "proto/openssl_ptr.h"
#include "proto/result.h"

namespace connd::proto {

/// Key and chain belong together: `load` is the only way to make one from outside.
struct Identity {
  PkeyPtr key;
  CertificateChain chain;

  /// From PEM. Errors: kKeyUnreadable (also when encrypted, or not RSA: OpenDHT encrypts values to RSA keys only),
  /// kKeyMismatch (not the leaf's key), and those of CertificateChain::from_pem. The chain is not verified.
  static Result<Identity> load(std::string_view key_pem, std::string_view chain_pem);
};

struct IdentityOptions {
  /// What Jami makes; tests use 2048, which takes 0.3 s instead of seconds.
  unsigned rsa_bits = 4096;
  /// Common names, shown in logs only: at most 64 bytes of UTF-8 (RFC 5280, ub-common-name).
  std::string ca_name = "jami-connd CA";
  std::string account_name = "jami-connd account";
  std::string device_name = "jami-connd device";
  Validity validity{};
};

/// Everything that `generate_identity` made. Keys are PKCS#8 in PEM, not encrypted, and wiped with the struct.
struct GeneratedIdentity {
  SecretText ca_key_pem;
  SecretText account_key_pem;
  SecretText device_key_pem;
  std::string chain_pem;  ///< device, account, CA
};

/// Makes keys and certificates device <- account <- CA, as JAMI_WIRE has them: RSA, X.509 v3, random serial numbers,
/// SHA-512 signatures, each subject naming its key id as UID. Chance comes from OpenSSL's generator.
/// Errors: kKeyGenerationFailed (bits below 2048 or above 16384, a bad name or validity, or OpenSSL failed).
Result<GeneratedIdentity> generate_identity(const IdentityOptions& options);

/// A fresh RSA key in PEM; for a device that asks an account for a certificate. Errors: kKeyGenerationFailed.
Result<SecretText> generate_private_key(unsigned rsa_bits);

/// DER SubjectPublicKeyInfo of a private key in PEM. Errors: kKeyUnreadable.
Result<ByteVector> public_key_der_from(std::string_view private_key_pem);

/// Certifies a further device of an account: a chain of the new device certificate and all of `account_chain` (the
/// account's certificate first). `device_public_key_der` is the device's SubjectPublicKeyInfo.
/// Errors: kKeyUnreadable (either key), kKeyMismatch (not the account's key), kKeyGenerationFailed.
Result<CertificateChain> issue_device_certificate(std::string_view account_key_pem,
                                                  const CertificateChain& account_chain, Bytes device_public_key_der,
                                                  const std::string& device_name, Validity validity);

}  // namespace connd::proto
