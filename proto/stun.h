// SPDX-License-Identifier: GPL-3.0-or-later
/// The little of STUN (RFC 8489) that a connection needs after it was taken over from the ICE library: to answer the
/// peer's connectivity checks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "proto/bytes.h"

namespace connd::proto {

/// An IP address and port. IPv4 takes the first four bytes.
struct IpEndpoint {
  std::array<std::uint8_t, 16> address{};
  bool is_ipv6 = false;
  std::uint16_t port = 0;
};

/// Whether `message` is one whole STUN message: cookie, length, attributes that fill it exactly, and a FINGERPRINT that
/// holds where there is one (RFC 8489, sections 5, 14 and 14.7).
bool is_well_formed_stun(Bytes message);

/// Whether it is well formed and its MESSAGE-INTEGRITY (HMAC-SHA1) is that of the short-term credential `password`
/// (RFC 8489, sections 9.1.3 and 14.5).
bool has_integrity(Bytes message, std::string_view password);

/// The success response to a binding request that came from `peer` and was protected with `local_password`:
/// XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT. Nothing for all else: other messages, a wrong password, unknown
/// attributes that would have to be understood.
std::optional<ByteVector> stun_binding_response(Bytes request, const IpEndpoint& peer, std::string_view local_password);

}  // namespace connd::proto
