// SPDX-License-Identifier: GPL-3.0-or-later
/// RecordSearches: what anybody has put under a name (DhtClient::publish), each record once, within
/// kMaxRecordBytesPerKey.
///
/// On the loop's thread. Part of DhtClient.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/dht/dht_poster.h"
#include "daemon/dht/node_use.h"
#include "proto/bytes.h"

namespace connd::daemon {

class RecordSearches {
 public:
  using Done = std::function<void(const std::vector<proto::ByteVector>&)>;

  /// All outlive this.
  RecordSearches(Loop& loop, DhtPoster poster, NodeUse& node);

  /// See DhtClient::find_published. Beyond kMaxLookups at a time they end with nothing.
  void find(const std::string& name, proto::TimePoint deadline, Done done);
  /// There is a node, which has been asked for nothing yet: what goes on is asked anew.
  void take_up();

  /// From now on each ends with nothing, in a later turn.
  void stop() { stopped_ = true; }
  /// Those that are there end with what they have. Their callbacks may destroy the client.
  void end_all();
  /// Nobody is told of them any more.
  void clear() { searches_.clear(); }

 private:
  /// By its hash: the same comes from each node that keeps it, and from each device that has put it.
  struct Record {
    dht::InfoHash hash;
    proto::ByteVector data;
  };
  struct Search {
    dht::InfoHash key;
    Done done;
    std::set<dht::InfoHash> seen{};
    std::vector<proto::ByteVector> records{};
    std::unique_ptr<Timer> timer{};
  };

  static std::vector<Record> records_in(const DhtValues& values, std::atomic<std::size_t>& seen);
  void search(std::uint64_t id);
  void on_records(std::uint64_t id, std::vector<Record> records);
  void finish(std::uint64_t id);

  Loop& loop_;
  DhtPoster poster_;
  NodeUse& node_;
  std::map<std::uint64_t, Search> searches_;
  std::uint64_t next_id_ = 1;
  bool stopped_ = false;
};

}  // namespace connd::daemon
