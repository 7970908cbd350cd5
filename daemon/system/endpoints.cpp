// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/endpoints.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace connd::daemon {
namespace {

using NameOf = int (*)(int, sockaddr*, socklen_t*);
std::optional<proto::IpEndpoint> named(NameOf name_of, int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (name_of(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return std::nullopt;
  return endpoint_of(storage);
}

}  // namespace

std::optional<proto::IpEndpoint> endpoint_of(const sockaddr_storage& storage) {
  proto::IpEndpoint out;
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    std::memcpy(out.address.data(), &v4.sin_addr, sizeof v4.sin_addr);
    out.port = ntohs(v4.sin_port);
    return out;
  }
  if (storage.ss_family != AF_INET6) return std::nullopt;
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  out.port = ntohs(v6.sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    std::memcpy(out.address.data(), v6.sin6_addr.s6_addr + 12, 4);
    return out;
  }
  std::memcpy(out.address.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
  out.is_ipv6 = true;
  return out;
}

std::optional<proto::IpEndpoint> peer_endpoint(int fd) {
  return named(::getpeername, fd);
}

std::optional<proto::IpEndpoint> own_endpoint(int fd) {
  return named(::getsockname, fd);
}

SocketAddress socket_address(const proto::IpEndpoint& endpoint) {
  SocketAddress out;
  if (endpoint.is_ipv6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&v6.sin6_addr, endpoint.address.data(), sizeof v6.sin6_addr);
    out.length = sizeof v6;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address.data(), sizeof v4.sin_addr);
    out.length = sizeof v4;
  }
  return out;
}

std::optional<proto::IpEndpoint> endpoint_from(const std::string& address, std::uint16_t port) {
  proto::IpEndpoint out;
  out.port = port;
  if (::inet_pton(AF_INET, address.c_str(), out.address.data()) == 1) return out;
  if (::inet_pton(AF_INET6, address.c_str(), out.address.data()) != 1) return std::nullopt;
  out.is_ipv6 = true;
  return out;
}

std::string address_text(const proto::IpEndpoint& endpoint) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::inet_ntop(endpoint.is_ipv6 ? AF_INET6 : AF_INET, endpoint.address.data(), text.data(), text.size()) ==
      nullptr) {
    return {};
  }
  return text.data();
}

std::string text_of(const proto::IpEndpoint& endpoint) {
  const std::string address = address_text(endpoint);
  return (endpoint.is_ipv6 ? '[' + address + ']' : address) + ':' + std::to_string(endpoint.port);
}

bool may_connect(const proto::IpEndpoint& endpoint, bool allow_loopback) {
  if (endpoint.port == 0) return false;
  const auto& a = endpoint.address;
  if (!endpoint.is_ipv6) {
    if (a[0] == 127) return allow_loopback;
    return a[0] != 0 && a[0] < 0xE0;  // "this network"; multicast, reserved and broadcast
  }
  in6_addr v6{};
  std::memcpy(&v6, a.data(), sizeof v6);
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return allow_loopback;
  return !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6) && !IN6_IS_ADDR_MULTICAST(&v6) &&
         !IN6_IS_ADDR_V4MAPPED(&v6) && !IN6_IS_ADDR_V4COMPAT(&v6);
}

}  // namespace connd::daemon
