// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/local_addresses.h"

#include <ifaddrs.h>

#include <algorithm>
#include <array>
#include <memory>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

namespace connd::daemon {
namespace {

struct Found {
  std::vector<std::string> v4, v6, loopback;
};

void add(Found& found, const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr) return;
  // Without IFF_RUNNING there is no carrier: libnice skips such an interface, and so do we.
  if ((entry.ifa_flags & IFF_UP) == 0 || (entry.ifa_flags & IFF_RUNNING) == 0) return;
  const int family = entry.ifa_addr->sa_family;
  const void* raw = nullptr;
  if (family == AF_INET) {
    raw = &reinterpret_cast<const sockaddr_in*>(entry.ifa_addr)->sin_addr;
  } else if (family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr)->sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&v6)) return;
    raw = &v6;
  } else {
    return;
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (inet_ntop(family, raw, text.data(), text.size()) == nullptr) return;
  auto& list = (entry.ifa_flags & IFF_LOOPBACK) != 0 ? found.loopback : family == AF_INET ? found.v4 : found.v6;
  if (std::find(list.begin(), list.end(), text.data()) == list.end()) list.emplace_back(text.data());
}

}  // namespace

std::optional<std::vector<std::string>> local_addresses(bool with_loopback) {
  ifaddrs* head = nullptr;
  if (getifaddrs(&head) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(head, freeifaddrs);
  Found found;
  for (const ifaddrs* entry = head; entry != nullptr; entry = entry->ifa_next) add(found, *entry);
  std::vector<std::string> out = std::move(found.v4);
  out.insert(out.end(), found.v6.begin(), found.v6.end());
  if (with_loopback || out.empty()) out.insert(out.end(), found.loopback.begin(), found.loopback.end());
  if (out.size() > kMaxLocalAddresses) out.resize(kMaxLocalAddresses);
  return out;
}

bool is_loopback(const std::string& address) {
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace connd::daemon
