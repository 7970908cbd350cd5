// SPDX-License-Identifier: GPL-3.0-or-later
/// RequestIntake: requests and answers on their way in: from OpenDHT's thread, where each value is looked at once and
/// what is too much is dropped (RequestDoor), to the pool, which opens them within a budget (RequestOpener), to the
/// client.
///
/// Part of DhtClient.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "daemon/dht/dht_poster.h"
#include "daemon/dht/dht_setup.h"
#include "daemon/dht/recent_values.h"
#include "daemon/dht/request_opener.h"

namespace connd::daemon {

/// Where OpenDHT's thread leaves requests. At most kMaxWaitingRequests, and kMaxWaitingPairRequests, are on their way
/// from here to the loop.
class RequestDoor {
 public:
  /// `through` is called on the loop's thread, with each one that was let in.
  RequestDoor(DhtPoster poster, std::function<void(SealedRequest)> through)
      : poster_(std::move(poster)), through_(std::move(through)) {}

  /// OpenDHT's thread.
  void knock(const dht::Value& value, const Arrival& arrival);

  // Any thread.
  void count_ignored() { ++ignored_; }
  void count_dropped() { ++dropped_; }
  [[nodiscard]] std::uint64_t ignored() const { return ignored_; }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  [[nodiscard]] std::atomic<unsigned>& waiting(const Arrival& arrival) {
    return arrival.pair_peer ? waiting_pair_ : waiting_public_;
  }

  DhtPoster poster_;
  std::function<void(SealedRequest)> through_;
  /// At the long key, at the short one, at any of the pairs; for OpenDHT's thread alone.
  std::array<RecentValues<dht::InfoHash>, 3> recent_;
  std::atomic<unsigned> waiting_public_{0};
  std::atomic<unsigned> waiting_pair_{0};
  std::atomic<std::uint64_t> ignored_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

/// On the loop's thread.
class RequestIntake {
 public:
  /// `on_request` may destroy the client.
  RequestIntake(Loop& loop, const DhtPoster& poster, const DhtBeginning& beginning,
                std::function<void(const IncomingRequest&)> on_request);

  /// Second owner: OpenDHT, in its callbacks.
  [[nodiscard]] const std::shared_ptr<RequestDoor>& door() const { return door_; }
  [[nodiscard]] std::uint64_t received() const { return received_; }
  /// Nothing is opened, and nothing told, from now on.
  void stop();

 private:
  void on_sealed(SealedRequest sealed);
  void on_opened(const std::optional<IncomingRequest>& request);

  std::function<void(const IncomingRequest&)> on_request_;
  std::shared_ptr<RequestDoor> door_;
  RequestOpener public_;
  RequestOpener pairs_;
  std::uint64_t received_ = 0;
  bool stopped_ = false;
};

}  // namespace connd::daemon
