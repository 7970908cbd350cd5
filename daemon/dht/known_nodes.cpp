// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/known_nodes.h"

#include <algorithm>

#include "daemon/dht/dht_setup.h"

namespace connd::daemon {

bool KnownNodes::due(proto::TimePoint now) {
  if (looked_at_ && now < *looked_at_ + kInterval) return false;
  looked_at_ = now;
  return true;
}

void KnownNodes::take(std::vector<dht::NodeExport> nodes) {
  for (auto& node : nodes_) {
    if (nodes.size() >= kMaxSavedNodes) break;
    const bool there = std::any_of(nodes.begin(), nodes.end(), [&](const auto& other) { return other.id == node.id; });
    if (!there) nodes.push_back(node);
  }
  if (nodes.size() > kMaxSavedNodes) nodes.resize(kMaxSavedNodes);
  nodes_ = std::move(nodes);
}

std::vector<dht::SockAddr> KnownNodes::some() const {
  std::vector<dht::SockAddr> out;
  const std::size_t stride = std::max<std::size_t>(1, nodes_.size() / kMaxSome);
  for (std::size_t i = 0; i < nodes_.size() && out.size() < kMaxSome; i += stride) {
    out.emplace_back(reinterpret_cast<const sockaddr*>(&nodes_[i].ss), nodes_[i].sslen);
  }
  return out;
}

}  // namespace connd::daemon
