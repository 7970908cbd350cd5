// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/peer_places.h"

#include <algorithm>

namespace connd::tools {

std::size_t PeerPlaces::of(const std::string& peer) const {
  const auto it = by_peer_.find(peer);
  return it == by_peer_.end() ? 0 : it->second;
}

std::size_t PeerPlaces::of(const std::string& device, const std::string& account) const {
  return std::max(of(device), account.empty() ? 0 : of(account));
}

void PeerPlaces::take(const std::string& device, const std::string& account) {
  ++taken_;
  ++by_peer_[device];
  if (!account.empty()) ++by_peer_[account];
}

void PeerPlaces::leave(const std::string& device, const std::string& account) {
  --taken_;
  leave(device);
  if (!account.empty()) leave(account);
}

void PeerPlaces::leave(const std::string& peer) {
  const auto it = by_peer_.find(peer);
  if (it != by_peer_.end() && --it->second == 0) by_peer_.erase(it);
}

}  // namespace connd::tools
