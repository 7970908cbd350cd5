// SPDX-License-Identifier: GPL-3.0-or-later
/// KnownNodes: the nodes of the DHT that one goes back to after an outage, or with a new node: those that were good
/// when they were last looked at. They are looked at while some are good: in an outage none is.
///
/// Knows no clock and no node. One thread. Part of DhtClient.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "daemon/dht/dht_node.h"
#include "proto/time.h"

namespace connd::daemon {

class KnownNodes {
 public:
  static constexpr proto::Duration kInterval = std::chrono::minutes(1);
  /// How many `some` gives: one that answers is enough.
  static constexpr std::size_t kMaxSome = 16;

  /// Those of the last run.
  explicit KnownNodes(std::vector<dht::NodeExport> nodes) : nodes_(std::move(nodes)) {}

  /// True, once in kInterval: it is time to look at those that are good now, for `take`.
  bool due(proto::TimePoint now);
  /// The former ones stay behind the new, as far as there is room (kMaxSavedNodes).
  void take(std::vector<dht::NodeExport> nodes);

  [[nodiscard]] const std::vector<dht::NodeExport>& all() const { return nodes_; }
  /// Of the whole list, not of its begin alone.
  [[nodiscard]] std::vector<dht::SockAddr> some() const;

 private:
  std::vector<dht::NodeExport> nodes_;
  std::optional<proto::TimePoint> looked_at_;
};

}  // namespace connd::daemon
