// SPDX-License-Identifier: GPL-3.0-or-later
/// How a further device joins an account, and how an account's keys leave a device: PKCS#10 requests and encrypted
/// keys, both in PEM, so that OpenSSL's own tools can read and make them too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proto/bytes.h"
#include "proto/openssl_ptr.h"
#include "proto/result.h"

namespace connd::proto {

/// A request of some 4 KiB, with room.
inline constexpr std::size_t kMaxRequestPemBytes = std::size_t{16} * 1024;

/// A certificate request (RFC 2986) for a device's key, signed by it. Errors: kKeyUnreadable, kKeyGenerationFailed.
Result<std::string> make_certificate_request(std::string_view device_key_pem);
/// The key that a request is for, as SubjectPublicKeyInfo in DER. Nothing else in it is believed. Errors:
/// kCertificateUnreadable (no request; not signed by its own key; a key that is not RSA), kCertificateTooWeak.
Result<ByteVector> key_of_certificate_request(std::string_view pem);

/// A private key, encrypted (PKCS#8, PBES2 with AES-256) by a passphrase. Errors: kKeyUnreadable, kKeyGenerationFailed.
Result<std::string> encrypt_private_key(std::string_view key_pem, std::string_view passphrase);
/// All encrypted private keys in a PEM text, decrypted; at most 4. Errors: kKeyUnreadable (none, or another
/// passphrase).
Result<std::vector<SecretText>> decrypt_private_keys(std::string_view pem, std::string_view passphrase);
/// Whether there are any.
bool has_encrypted_key(std::string_view pem);

}  // namespace connd::proto
