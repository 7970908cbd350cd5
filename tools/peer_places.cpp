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

std::optional<std::size_t> place_for_another(std::span<const PlaceHolder> holders, std::size_t asking,
                                             std::chrono::steady_clock::time_point before) {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < holders.size(); ++i) {
    const PlaceHolder& one = holders[i];
    if (one.stepped > before || one.places <= asking) continue;
    const auto better = [&one](const PlaceHolder& other) {
      return one.places != other.places ? one.places > other.places : one.stepped < other.stepped;
    };
    if (!found || better(holders[*found])) found = i;
  }
  return found;
}

}  // namespace connd::tools
