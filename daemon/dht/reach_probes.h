// SPDX-License-Identifier: GPL-3.0-or-later
/// ReachProbes: values of our own that are put where we listen, at the long key and at the short one, to see whether
/// they come back by the listen, through another node. What a test is for, and when there is one, says reachability.h.
///
/// Part of DhtClient.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "daemon/dht/dht_node.h"
#include "daemon/dht/dht_poster.h"

namespace connd::daemon {

class ReachProbes {
 public:
  static constexpr std::size_t kKeys = 2;

  /// `came_back` is called on the loop's thread, once for each value.
  ReachProbes(DhtPoster poster, std::function<void(std::size_t key)> came_back)
      : poster_(std::move(poster)), came_back_(std::move(came_back)) {}

  // On the loop's thread.
  /// What to put at this key now; the one before does not count any more.
  std::shared_ptr<dht::Value> make(std::size_t key);
  /// What is under way does not count any more.
  void forget();

  /// OpenDHT's thread: something of the kind has come at this key. Anybody can put such a value; what ours says only
  /// the nodes that store it know.
  void on_value(const std::shared_ptr<dht::Value>& value, std::size_t key);

 private:
  void let_it_come_back(const std::shared_ptr<dht::Value>& value, std::size_t key);

  DhtPoster poster_;
  std::function<void(std::size_t)> came_back_;
  std::array<std::atomic<std::uint64_t>, kKeys> contents_{};     ///< 0: it came back, or none was put
  std::array<std::atomic<const dht::Value*>, kKeys> objects_{};  ///< to be told from what comes back
  /// The one before, and the id that it was put with; for OpenDHT's thread alone.
  std::array<std::pair<std::weak_ptr<dht::Value>, dht::Value::Id>, kKeys> former_{};
};

}  // namespace connd::daemon
