// SPDX-License-Identifier: GPL-3.0-or-later
/// ChainLookups: finds the certificates of devices, under the keys where they are put (dht_client.h). Anybody can put
/// there whatever he likes: values are read on the pool, a few at a time in an order that chance gives, within the
/// bounds of dht_client.h.
///
/// On the loop's thread. Part of DhtClient.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "daemon/dht/dht_poster.h"
#include "daemon/dht/node_use.h"
#include "daemon/dht/search_slots.h"
#include "daemon/dht/signalling.h"

namespace connd::daemon {

class ChainLookups {
 public:
  using Done = std::function<void(std::optional<proto::CertificateChain>)>;

  /// All outlive this.
  ChainLookups(Loop& loop, DhtPoster poster, NodeUse& node);

  /// See DhtClient::find_certificate. At most kMaxLookups go on at a time, the others wait: who decides about a request
  /// that a peer has sent comes first.
  void find(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
            proto::TimePoint deadline, ChainUse use, ChainWanted wanted, Done done);
  /// There is a node, which has been asked for nothing yet: what goes on is asked anew.
  void take_up();

  /// From now on each ends with nothing, in a later turn, and none begins.
  void stop() { stopped_ = true; }
  /// Those that are there end with nothing. Their callbacks may destroy the client.
  void end_all();
  /// Nobody is told of them any more.
  void clear() { lookups_.clear(); }
  [[nodiscard]] std::uint64_t begun() const { return begun_; }

 private:
  /// Values being read on the pool: each is some milliseconds of parsing, and anybody's.
  struct Reading {
    proto::DeviceId device;
    std::shared_ptr<std::set<dht::InfoHash>> seen;
    std::vector<dht::Blob> values;
    // The outcome.
    std::vector<CheckedChain> chains{};  ///< of the device's key
    std::size_t read_bytes = 0;          ///< of those that had not come before

    void run();
  };
  struct Lookup {
    proto::DeviceId device;
    std::optional<proto::ShortDeviceId> short_id;
    ChainWanted wanted;
    Done done;
    /// What was looked at: the same comes from each node that keeps it, and in each round. Of the pool's work while
    /// there is any.
    std::shared_ptr<std::set<dht::InfoHash>> seen = std::make_shared<std::set<dht::InfoHash>>();
    std::vector<dht::Blob> waiting{};    ///< to be read
    std::shared_ptr<Reading> reading{};  ///< what goes on; second owner: the pool
    std::size_t read_bytes = 0;
    unsigned pending = 0;  ///< one bit a key whose search goes on
    unsigned rounds = 0;   ///< that have found nothing
    bool round_over = true;
    std::unique_ptr<Timer> timer{};
    std::unique_ptr<Timer> pause{};
  };
  using WaitingBytes = std::shared_ptr<std::atomic<std::size_t>>;

  void search_all(std::uint64_t id);
  void search(std::uint64_t id, const dht::InfoHash& key, unsigned bit, dht::ValueType::Id type,
              dht::Value::Filter filter = {});
  void on_chains(std::uint64_t id, std::vector<dht::Blob> chains);
  void on_search_end(std::uint64_t id, unsigned bit);
  void read_some(std::uint64_t id);
  void on_read(std::uint64_t id, const std::shared_ptr<Reading>& reading);
  void end_round(std::uint64_t id);
  void finish(std::uint64_t id, std::optional<proto::CertificateChain> chain);
  void forget_waiting(Lookup& lookup);

  Loop& loop_;
  DhtPoster poster_;
  NodeUse& node_;
  std::minstd_rand chance_{std::random_device{}()};  ///< which value is read next
  std::map<std::uint64_t, Lookup> lookups_;
  SearchSlots slots_;
  WaitingBytes waiting_bytes_;  ///< of all lookups. Second owner: OpenDHT, in its callbacks
  std::uint64_t begun_ = 0;     ///< the last one's id
  bool stopped_ = false;
};

}  // namespace connd::daemon
