// SPDX-License-Identifier: GPL-3.0-or-later
/// IP endpoints as proto/ has them, and as the kernel does.
#pragma once

#include <optional>
#include <string>

#include "daemon/system/resolver.h"
#include "proto/stun.h"

namespace connd::daemon {

/// Nothing when it is neither IPv4 nor IPv6. An IPv4-mapped IPv6 address is that of IPv4.
std::optional<proto::IpEndpoint> endpoint_of(const sockaddr_storage& storage);
/// The other end, and our own end, of a connected socket.
std::optional<proto::IpEndpoint> peer_endpoint(int fd);
std::optional<proto::IpEndpoint> own_endpoint(int fd);
SocketAddress socket_address(const proto::IpEndpoint& endpoint);
/// From a literal, without brackets or zone.
std::optional<proto::IpEndpoint> endpoint_from(const std::string& address, std::uint16_t port);
/// The address alone.
std::string address_text(const proto::IpEndpoint& endpoint);
/// "ip:port", an IPv6 address in brackets.
std::string text_of(const proto::IpEndpoint& endpoint);
/// One that a peer may make us connect to: with a port, and neither unspecified, link-local, multicast, reserved,
/// IPv4-mapped nor, unless `allow_loopback`, loopback (a peer must not be able to point us at our own machine's
/// services).
bool may_connect(const proto::IpEndpoint& endpoint, bool allow_loopback);

}  // namespace connd::daemon
