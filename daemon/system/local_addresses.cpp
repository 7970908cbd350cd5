// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/local_addresses.h"

#include <ifaddrs.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "ipc/fd.h"

namespace connd::daemon {
namespace {

constexpr std::uint32_t kLinkLocal = 0xA9FE;  // 169.254.0.0/16, RFC 3927

std::optional<InterfaceAddress> address_of(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr) return std::nullopt;
  // Without IFF_RUNNING there is no carrier: libnice skips such an interface, and so do we.
  if ((entry.ifa_flags & IFF_UP) == 0 || (entry.ifa_flags & IFF_RUNNING) == 0) return std::nullopt;
  const int family = entry.ifa_addr->sa_family;
  const void* raw = nullptr;
  InterfaceAddress out;
  if (family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in*>(entry.ifa_addr)->sin_addr;
    out.link_local = (ntohl(v4.s_addr) >> 16) == kLinkLocal;
    raw = &v4;
  } else if (family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr)->sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&v6)) return std::nullopt;
    raw = &v6;
  } else {
    return std::nullopt;
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (inet_ntop(family, raw, text.data(), text.size()) == nullptr) return std::nullopt;
  out.text = text.data();
  // An address may have a label, which getifaddrs gives as the name: eth0:1.
  const std::string_view name = entry.ifa_name;
  out.interface = name.substr(0, name.find(':'));
  out.ipv6 = family == AF_INET6;
  out.loopback = (entry.ifa_flags & IFF_LOOPBACK) != 0;
  return out;
}

/// A datagram socket that is connected sends nothing, and has the address that what it sent would come from.
std::string source_towards(const sockaddr* to, socklen_t size) {
  const ipc::Fd fd(::socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t own_size = sizeof own;
  if (!fd || ::connect(fd.get(), to, size) != 0) return {};
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return {};
  const void* raw = own.ss_family == AF_INET
                        ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&own)->sin_addr)
                        : &reinterpret_cast<const sockaddr_in6*>(&own)->sin6_addr;
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(own.ss_family, raw, text.data(), text.size()) == nullptr ? std::string() : std::string(text.data());
}

struct Block {
  std::uint32_t first;
  unsigned bits;
};
// IANA's registry of special-purpose addresses, as far as nobody elsewhere has them.
constexpr std::array kNotPublic = {
    Block{0x00000000, 8},   // "this network"
    Block{0x0A000000, 8},   // private, RFC 1918
    Block{0x64400000, 10},  // between a carrier and its customers, RFC 6598
    Block{0x7F000000, 8},   // loopback
    Block{0xA9FE0000, 16},  // link-local
    Block{0xAC100000, 12},  // private
    Block{0xC0000000, 24},  // of protocols, RFC 6890
    Block{0xC0A80000, 16},  // private
    Block{0xE0000000, 3},   // multicast, reserved, broadcast
};

}  // namespace

std::optional<std::vector<InterfaceAddress>> interface_addresses() {
  ifaddrs* head = nullptr;
  if (getifaddrs(&head) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(head, freeifaddrs);
  std::vector<InterfaceAddress> out;
  for (const ifaddrs* entry = head; entry != nullptr && out.size() < kMaxLocalAddresses; entry = entry->ifa_next) {
    auto address = address_of(*entry);
    if (!address) continue;
    const bool known =
        std::any_of(out.begin(), out.end(), [&](const InterfaceAddress& a) { return a.text == address->text; });
    if (!known) out.push_back(*std::move(address));
  }
  return out;
}

std::optional<std::vector<std::string>> local_addresses(bool with_loopback) {
  const auto all = interface_addresses();
  if (!all) return std::nullopt;
  std::vector<std::string> out;
  for (const bool ipv6 : {false, true}) {
    for (const InterfaceAddress& address : *all) {
      if (!address.loopback && address.ipv6 == ipv6) out.push_back(address.text);
    }
  }
  if (!with_loopback && !out.empty()) return out;
  for (const InterfaceAddress& address : *all) {
    if (address.loopback) out.push_back(address.text);
  }
  return out;
}

InternetSources internet_sources() {
  // Addresses for documentation (RFC 5737, RFC 3849): nothing but the default route leads there.
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(9);
  inet_pton(AF_INET, "192.0.2.1", &v4.sin_addr);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(9);
  inet_pton(AF_INET6, "2001:db8:ffff:ffff::1", &v6.sin6_addr);
  return {source_towards(reinterpret_cast<const sockaddr*>(&v4), sizeof v4),
          source_towards(reinterpret_cast<const sockaddr*>(&v6), sizeof v6)};
}

bool is_loopback(const std::string& address) {
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_link_local(const std::string& address) {
  in_addr v4{};
  return inet_pton(AF_INET, address.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 16) == kLinkLocal;
}

bool is_public(const std::string& address) {
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    const std::uint32_t host = ntohl(v4.s_addr);
    return std::none_of(kNotPublic.begin(), kNotPublic.end(),
                        [host](const Block& block) { return ((host ^ block.first) >> (32 - block.bits)) == 0; });
  }
  in6_addr v6{};
  // RFC 4291, 2.4, and IANA: global unicast addresses are given out of 2000::/3 alone.
  return inet_pton(AF_INET6, address.c_str(), &v6) == 1 && (v6.s6_addr[0] & 0xE0) == 0x20;
}

}  // namespace connd::daemon
