// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/lan_discovery.h"

#include <ifaddrs.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

namespace connd::daemon {
namespace {

std::uint16_t& port_of(sockaddr_storage& address) {
  return address.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                      : reinterpret_cast<sockaddr_in6&>(address).sin6_port;
}

/// 4 or 16 bytes.
std::array<std::uint8_t, 16> ip_of(const sockaddr* address) {
  std::array<std::uint8_t, 16> ip{};
  if (address->sa_family == AF_INET) {
    std::memcpy(ip.data(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
  } else {
    std::memcpy(ip.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
  }
  return ip;
}

unsigned leading_ones(const std::array<std::uint8_t, 16>& mask) {
  unsigned bits = 0;
  while (bits < 128 && (mask[bits / 8] & (0x80 >> bits % 8)) != 0) ++bits;
  return bits;
}

bool same_prefix(const std::array<std::uint8_t, 16>& a, const std::array<std::uint8_t, 16>& b, unsigned bits) {
  for (unsigned bit = 0; bit < bits; ++bit) {
    if (((a[bit / 8] ^ b[bit / 8]) & (0x80 >> bit % 8)) != 0) return false;
  }
  return true;
}

}  // namespace

LanDiscovery::LanDiscovery(Loop& loop, const LanDiscoveryConfig& config,
                           std::function<void(const SocketAddress&)> found)
    : loop_(loop), config_(config), found_(std::move(found)) {
  open(v4_, AF_INET, proto::kDhtDiscoveryGroup4, config_.port4);
  open(v6_, AF_INET6, proto::kDhtDiscoveryGroup6, config_.port6);
}

/// Other programs on this machine may do the same: the group's datagrams come to all who share the port.
void LanDiscovery::open(Family& family, int domain, const char* group, std::uint16_t port) {
  ipc::Fd fd(::socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return;
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (domain == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  SocketAddress any;
  any.length = length_of_address(domain);
  any.storage.ss_family = static_cast<sa_family_t>(domain);
  port_of(any.storage) = htons(proto::kDhtDiscoveryPort);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any.storage), any.length) != 0) return;
  family.group = any;
  auto* at = domain == AF_INET ? static_cast<void*>(&reinterpret_cast<sockaddr_in&>(family.group.storage).sin_addr)
                               : static_cast<void*>(&reinterpret_cast<sockaddr_in6&>(family.group.storage).sin6_addr);
  if (::inet_pton(domain, group, at) != 1) return;
  if (port != 0) {
    proto::DhtAnnouncement announcement;
    announcement.node_id = config_.node_id;
    announcement.port = port;
    announcement.network = config_.network;
    family.announcement = proto::encode_dht_discovery(announcement);
  }
  family.fd = std::move(fd);
  family.poll = std::make_unique<Poll>(loop_, family.fd.get(), [this, &family](int) { on_readable(family); });
  family.poll->want(Poll::kReadable);
}

void LanDiscovery::ask() {
  interfaces_.clear();
  ifaddrs* head = nullptr;
  if (::getifaddrs(&head) != 0) return;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(head, ::freeifaddrs);
  for (const ifaddrs* entry = head; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_netmask == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    if (interfaces_.size() == 4 * kMaxLanInterfaces) break;  // an interface has several addresses
    interfaces_.push_back(
        {::if_nametoindex(entry->ifa_name), family, ip_of(entry->ifa_addr), leading_ones(ip_of(entry->ifa_netmask))});
    if ((entry->ifa_flags & IFF_MULTICAST) != 0) join(family == AF_INET ? v4_ : v6_, interfaces_.back().index);
  }
  const auto question = proto::encode_dht_discovery_query();
  for (Family* family : {&v4_, &v6_}) {
    for (const unsigned interface : family->joined) {
      send(*family, question, family->group, interface);
      if (!family->announcement.empty()) send(*family, family->announcement, family->group, interface);
    }
  }
}

/// An interface that went and came again has another number, or is a member no more: joining twice is refused, which
/// does no harm.
void LanDiscovery::join(Family& family, unsigned interface) {
  if (!family.fd || interface == 0) return;
  if (family.group.storage.ss_family == AF_INET) {
    ip_mreqn request{};
    request.imr_multiaddr = reinterpret_cast<const sockaddr_in&>(family.group.storage).sin_addr;
    request.imr_ifindex = static_cast<int>(interface);
    ::setsockopt(family.fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
  } else {
    ipv6_mreq request{};
    request.ipv6mr_multiaddr = reinterpret_cast<const sockaddr_in6&>(family.group.storage).sin6_addr;
    request.ipv6mr_interface = interface;
    ::setsockopt(family.fd.get(), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request);
  }
  if (std::find(family.joined.begin(), family.joined.end(), interface) != family.joined.end()) return;
  // The oldest goes: interfaces that are no more cost one failed send a question, and no more than that.
  if (family.joined.size() == kMaxLanInterfaces) family.joined.erase(family.joined.begin());
  family.joined.push_back(interface);
}

/// Lost as any datagram may be: whoever asks next is answered.
void LanDiscovery::send(const Family& family, proto::Bytes bytes, const SocketAddress& to, unsigned interface) {
  if (interface != 0 && family.group.storage.ss_family == AF_INET) {
    ip_mreqn out{};
    out.imr_ifindex = static_cast<int>(interface);
    if (::setsockopt(family.fd.get(), IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out) != 0) return;
  } else if (interface != 0) {
    if (::setsockopt(family.fd.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof interface) != 0) return;
  }
  (void)!::sendto(family.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&to.storage), to.length);
}

void LanDiscovery::on_readable(Family& family) {
  std::array<std::uint8_t, proto::kMaxDhtDiscoveryDatagram + 1> buffer{};
  for (unsigned i = 0; i < kLanDatagramsPerTurn; ++i) {
    SocketAddress from;
    from.length = sizeof from.storage;
    const ssize_t size = ::recvfrom(family.fd.get(), buffer.data(), buffer.size(), 0,
                                    reinterpret_cast<sockaddr*>(&from.storage), &from.length);
    if (size < 0) break;
    ++counters_.received;
    if (!on_datagram(family, {buffer.data(), static_cast<std::size_t>(size)}, from)) ++counters_.dropped;
  }
  family.poll->want(Poll::kReadable);
}

bool LanDiscovery::on_datagram(Family& family, proto::Bytes datagram, const SocketAddress& from) {
  if (!is_near(from)) return false;
  if (proto::is_dht_discovery_query(datagram)) {
    if (family.announcement.empty()) return true;
    if (!answers_.take(loop_.now())) return false;
    send(family, family.announcement, from, 0);
    return true;
  }
  std::optional<proto::DhtAnnouncement> announcement;
  if (proto::walk_dht_discovery(datagram, announcement) != proto::DhtFault::kNone) return false;
  if (!announcement || announcement->network != config_.network || announcement->node_id == config_.node_id)
    return true;
  SocketAddress node = from;
  port_of(node.storage) = htons(announcement->port);
  if (!is_new(node)) return true;
  if (!pings_.take(loop_.now())) {
    seen_.pop_back();
    return false;
  }
  ++counters_.nodes;
  found_(node);
  return true;
}

bool LanDiscovery::is_near(const SocketAddress& from) const {
  const auto ip = ip_of(reinterpret_cast<const sockaddr*>(&from.storage));
  return std::any_of(interfaces_.begin(), interfaces_.end(), [&](const Interface& interface) {
    return interface.family == from.storage.ss_family && same_prefix(ip, interface.address, interface.prefix_bits);
  });
}

/// False: it was handed on a moment ago. True: it is remembered now, as the last one.
bool LanDiscovery::is_new(const SocketAddress& node) {
  while (!seen_.empty() && seen_.front().at + kLanSameNode <= loop_.now()) seen_.pop_front();
  for (const Seen& seen : seen_) {
    if (seen.address.length == node.length && std::memcmp(&seen.address.storage, &node.storage, node.length) == 0) {
      return false;
    }
  }
  seen_.push_back({node, loop_.now()});
  return true;
}

}  // namespace connd::daemon
