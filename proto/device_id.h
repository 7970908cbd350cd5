// SPDX-License-Identifier: GPL-3.0-or-later
/// Names of keys: device ids (SHA-256, 64 hex digits), their legacy short form and account ids (SHA-1, 40 hex digits).
///
/// Each is the hash of a DER SubjectPublicKeyInfo, which is what OpenDHT calls PkId and InfoHash of a public key.
#pragma once

#include <array>
#include <compare>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/result.h"

namespace connd::proto {

/// `Tag` only keeps ids of different meaning apart.
template <std::size_t N, class Tag>
struct KeyId {
  static constexpr std::size_t kBytes = N;
  static constexpr std::size_t kHexDigits = 2 * N;

  std::array<std::uint8_t, N> bytes{};

  [[nodiscard]] std::string hex() const { return to_hex(bytes); }
  /// The first digits, for logs: enough for a reader, not for a program.
  [[nodiscard]] std::string abbreviated() const { return hex().substr(0, 12); }
  /// From exactly kHexDigits hex digits of either case; Errc::kBadHex otherwise.
  static Result<KeyId> from_hex(std::string_view text) {
    KeyId id;
    if (!proto::from_hex(text, id.bytes)) return Errc::kBadHex;
    return id;
  }
  [[nodiscard]] bool is_zero() const { return *this == KeyId{}; }
  friend auto operator<=>(const KeyId&, const KeyId&) = default;
};

using DeviceId = KeyId<32, struct DeviceIdTag>;            ///< SHA-256 of the device's public key
using ShortDeviceId = KeyId<20, struct ShortDeviceIdTag>;  ///< SHA-1 of the same, legacy
using AccountId = KeyId<20, struct AccountIdTag>;          ///< SHA-1 of the key that issued the device certificate

}  // namespace connd::proto

template <std::size_t N, class Tag>
struct std::hash<connd::proto::KeyId<N, Tag>> {
  std::size_t operator()(const connd::proto::KeyId<N, Tag>& id) const noexcept {
    // The id is a hash already; its first bytes are as good as any.
    std::size_t out;
    static_assert(N >= sizeof out);
    std::memcpy(&out, id.bytes.data(), sizeof out);
    return out;
  }
};
