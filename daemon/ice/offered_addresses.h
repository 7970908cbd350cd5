// SPDX-License-Identifier: GPL-3.0-or-later
/// Which of this machine's addresses a peer is told of, and which public ones beside them.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "daemon/system/local_addresses.h"
#include "proto/candidate.h"

namespace connd::daemon {

/// libnice takes 64, and the number of pairs to check is the product of both sides' numbers; each is two lines.
inline constexpr std::size_t kMaxOfferedAddresses = 16;
/// Of these one family has no more, as long as there are others of the other one.
inline constexpr std::size_t kMaxOfferedOfFamily = 8;
/// Beside them. Two of each family: what TCP leaves by may be another address than UDP's.
inline constexpr std::size_t kMaxPublicAddresses = 4;

struct AddressRules {
  bool allow_loopback = false;
  /// Only these interfaces' addresses, whatever they are; empty: of all that lead somewhere.
  std::vector<std::string> interfaces{};
};

/// What is known of the machine.
struct AddressFacts {
  std::vector<InterfaceAddress> addresses;
  InternetSources internet;
  std::function<bool(const std::string& interface)> is_guest_bridge;
};

/// Chooses. What leads to the internet comes first, then one address of each interface, then their others; IPv4 before
/// IPv6. Left out are: loopback; link-local addresses, and bridges of this machine's own guests, which everyone has
/// with the same address (unless the way to the internet is by them). Where nothing else is there, these are offered,
/// and where there are none, loopback: so it works on a cable between two machines, and on one alone.
std::vector<std::string> choose_addresses(const AddressFacts& facts, const AddressRules& rules);

struct OfferedAddresses {
  std::vector<std::string> local;  ///< numeric
  /// Whether the public address of that family may be told: with --interface, if the way to the internet is by one of
  /// those.
  bool public_v4 = true;
  bool public_v6 = true;

  [[nodiscard]] bool has_loopback() const;
  [[nodiscard]] bool has_link_local() const;
  /// Whether a peer's candidate is of a private network while we have a public address of that family: the peer reaches
  /// us before we reach it, if at all.
  [[nodiscard]] bool may_wait(const proto::Candidate& remote) const;
};
/// What this machine offers now. Asks the kernel, which answers at once.
OfferedAddresses offered_addresses(const AddressRules& rules);

/// Candidate lines for the public addresses that others see us at and that we do not have ourselves. Nobody connects to
/// them: they are `tcptype active`. But a peer's relay lets none in but whom its client names, and the client names the
/// addresses of our candidates (RFC 6062, 4.2; RFC 8656, 9.1): without them no relay lets us in.
std::vector<proto::Candidate> public_candidates(const std::vector<std::string>& addresses,
                                                const OfferedAddresses& offered);

}  // namespace connd::daemon
