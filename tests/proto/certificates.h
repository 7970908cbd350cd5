// SPDX-License-Identifier: GPL-3.0-or-later
/// Certificates of every kind, good and bad, for tests. Keys are RSA-2048, made once per test program.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proto/identity.h"

namespace connd::test {

/// The time at which the tests' certificates are looked at, and their validity around it.
inline constexpr std::int64_t kNow = 1'800'000'000;
inline constexpr std::int64_t kDay = 86'400;
inline constexpr proto::Validity kValid{kNow - kDay, kNow + kDay};

/// The `i`-th key of the program.
EVP_PKEY* key(std::size_t i);
std::string key_pem(std::size_t i);

/// What a certificate says; an empty extension is left out.
struct Spec {
  std::size_t key;
  proto::Validity validity = kValid;
  std::string constraints;        ///< e.g. "critical,CA:TRUE"
  std::string usage;              ///< e.g. "critical,keyCertSign"
  std::string extended;           ///< e.g. "serverAuth"
  EVP_PKEY* other_key = nullptr;  ///< instead of `key`
  const EVP_MD* digest = EVP_sha512();
};

Spec device_spec(std::size_t key);
Spec issuer_spec(std::size_t key);

/// The chain of `specs`, leaf first, each signed by the next, the last by itself.
proto::CertificateChain chain(const std::vector<Spec>& specs);
/// The same, of which a CertificateChain need not come.
proto::ByteVector chain_der(const std::vector<Spec>& specs);
/// The certificates of several chains as one.
proto::CertificateChain joined(const std::vector<proto::ByteVector>& ders);

/// A revocation list in PEM: the `issuer_key`-th key takes back what has these serial numbers (all certificates above
/// have 7). `critical`: with an extension that cuts its meaning down.
std::string crl_pem(std::size_t issuer_key, const std::vector<long>& serials, bool critical = false);

/// A good device <- account <- CA, with the device's key 0 (account 1, CA 2), or 3 for the second device (same
/// account).
const proto::CertificateChain& alice_chain();
const proto::CertificateChain& bob_chain();
/// An identity of `chain` with the `key`-th key.
proto::Identity identity(std::size_t key, const proto::CertificateChain& chain);

}  // namespace connd::test
