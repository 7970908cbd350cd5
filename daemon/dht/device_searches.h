// SPDX-License-Identifier: GPL-3.0-or-later
/// DeviceSearches: finds the devices that an account has announced, or the one whose short id a 40-digit id is.
///
/// On the loop's thread. Part of DhtClient.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "daemon/dht/dht_poster.h"
#include "daemon/dht/dht_setup.h"
#include "daemon/dht/node_use.h"
#include "daemon/dht/search_slots.h"

namespace connd::daemon {

class DeviceSearches {
 public:
  using Found = std::function<void(const std::optional<DhtDevice>&)>;

  /// All outlive this.
  DeviceSearches(Loop& loop, DhtPoster poster, NodeUse& node);

  /// See DhtClient::find_devices. At most kMaxLookups go on at a time.
  void find(const proto::AccountId& account, proto::TimePoint deadline, Found found);
  /// There is a node, which has been asked for nothing yet: what goes on is asked anew.
  void take_up();

  /// From now on each ends, in a later turn, and none begins.
  void stop() { stopped_ = true; }
  /// Those that are there end. Their callbacks may destroy the client.
  void end_all();
  /// Nobody is told of them any more.
  void clear() { searches_.clear(); }

 private:
  struct Search {
    proto::AccountId account;
    Found found;
    std::set<proto::DeviceId> seen;
    unsigned rounds = 0;   ///< begun
    unsigned pending = 0;  ///< of this round: searches that go on, and values that are being read
    std::unique_ptr<Timer> timer;
    std::unique_ptr<Timer> pause;
  };

  void search(std::uint64_t id);
  void on_values(std::uint64_t id, std::vector<Announced> values);
  void on_read(std::uint64_t id, const std::vector<DhtDevice>& devices);
  void on_part_over(std::uint64_t id);
  void finish(std::uint64_t id);

  Loop& loop_;
  DhtPoster poster_;
  NodeUse& node_;
  std::map<std::uint64_t, Search> searches_;
  SearchSlots slots_;
  std::uint64_t next_id_ = 1;
  bool stopped_ = false;
};

}  // namespace connd::daemon
