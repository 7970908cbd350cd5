// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/doors.h"

#include <algorithm>

namespace connd::daemon {
namespace {

/// Both together are below what a peer takes, and tries: the mappings come first, for addresses are found by ICE, too.
constexpr std::size_t kMaxMapped = 2;
constexpr std::size_t kMaxHosts = 4;
static_assert(kMaxMapped + kMaxHosts <= proto::IceDescription::kMaxDoors);

}  // namespace

std::vector<proto::Door> doors_to_tell(const Doors& doors, const std::vector<std::string>& addresses,
                                       const std::vector<std::string>& seen_at) {
  std::vector<proto::Door> out;
  const std::uint16_t port = doors.door.port();
  std::vector<proto::IpEndpoint> all = doors.probe.mapped();
  for (const std::string& address : seen_at) {
    const auto guess = endpoint_from(address, port);
    const bool told = guess && std::any_of(all.begin(), all.end(), [&guess](const proto::IpEndpoint& one) {
                        return one.is_ipv6 == guess->is_ipv6;
                      });
    if (guess && !told && (!guess->is_ipv6 || doors.door.has_ipv6())) all.push_back(*guess);
  }
  for (const proto::IpEndpoint& mapped : all) {
    const std::string address = address_text(mapped);
    const bool own = mapped.port == port && std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    if (own || out.size() == kMaxMapped) continue;
    out.push_back({proto::Door::Kind::kMapped, address, mapped.port});
  }
  std::size_t hosts = 0;
  for (const std::string& address : addresses) {
    const auto endpoint = endpoint_from(address, port);
    if (!endpoint || (endpoint->is_ipv6 && !doors.door.has_ipv6())) continue;
    if (++hosts > kMaxHosts) break;
    out.push_back({proto::Door::Kind::kHost, address, port});
  }
  return out;
}

}  // namespace connd::daemon
