// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtAddress: whom a datagram of the DHT comes from or goes to.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include "proto/bytes.h"

namespace connd::proto {

/// An IP address and UDP port, as a key of maps. An IPv4 address stands in the first four bytes, the rest is zero; an
/// IPv4 address mapped into IPv6 is another address than the IPv4 one, so use sockets of one family each.
struct DhtAddress {
  enum class Family : std::uint8_t { kIpv4, kIpv6 };

  Family family = Family::kIpv4;
  std::array<std::uint8_t, 16> ip{};  ///< network order
  std::uint16_t port = 0;             ///< host order

  [[nodiscard]] std::size_t ip_bytes() const { return family == Family::kIpv4 ? 4 : 16; }
  friend auto operator<=>(const DhtAddress&, const DhtAddress&) = default;
};

/// Of a network that is somebody's own, or of this machine alone (RFC 1918, 3927, 4193; RFC 4291, 2.5.6).
inline bool is_private(const DhtAddress& address) {
  const auto& ip = address.ip;
  if (address.family == DhtAddress::Family::kIpv4) {
    return ip[0] == 10 || ip[0] == 127 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) || (ip[0] == 192 && ip[1] == 168) ||
           (ip[0] == 169 && ip[1] == 254);
  }
  if ((ip[0] & 0xfe) == 0xfc || (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80)) return true;
  for (std::size_t i = 0; i < 15; ++i) {
    if (ip[i] != 0) return false;
  }
  return ip[15] == 1;
}

/// Of an address that strangers choose: without the seed they could choose addresses that fall into one bucket.
struct DhtAddressHash {
  std::uint64_t seed = 0;  ///< unpredictable, one for the life of a table

  std::size_t operator()(const DhtAddress& address) const noexcept {
    std::uint64_t words[2];
    static_assert(sizeof words == sizeof address.ip);
    std::memcpy(words, address.ip.data(), sizeof words);
    std::uint64_t h = seed ^ (std::uint64_t{address.port} << 8) ^ static_cast<std::uint64_t>(address.family);
    // Each round: multiply by an odd constant and fold (the finalizer of MurmurHash3), with the seed in between.
    for (const std::uint64_t word : words) {
      h = (h ^ word) * 0xff51afd7ed558ccdULL;
      h = (h ^ (h >> 33) ^ seed) * 0xc4ceb9fe1a85ec53ULL;
      h ^= h >> 29;
    }
    return static_cast<std::size_t>(h);
  }
};

/// Of `random`, which gives 32 unpredictable bits.
inline std::uint64_t hash_seed(const std::function<std::uint32_t()>& random) {
  const std::uint64_t high = random();
  return (high << 32) | random();
}

/// One datagram and its other end.
struct DhtDatagram {
  DhtAddress address;
  ByteVector bytes;
};

}  // namespace connd::proto
