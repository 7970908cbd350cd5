// SPDX-License-Identifier: GPL-3.0-or-later
/// RequestOpener: opens sealed requests with the private key, one at a time, on the pool, within a budget of processor
/// time. There is one for what comes by our public keys and one for what comes by pair keys: neither waits for the
/// other.
///
/// Private to the DHT's part of the daemon, since OpenDHT's headers are large.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "daemon/dht/dht_setup.h"
#include "daemon/dht/sealed_queue.h"
#include "daemon/event_loop/loop.h"

namespace connd::daemon {

/// Used on the loop's thread.
class RequestOpener {
 public:
  struct Budget {
    std::size_t max_waiting;
    int share;               ///< of one core's time: one part in so many
    proto::Duration credit;  ///< what may be spent at once is the share of this
  };
  /// What came of one; nothing: it was junk. May destroy the opener.
  using Opened = std::function<void(const std::optional<SignalMessage>&)>;

  /// `key` is used on one thread of the pool at a time, and by nobody else.
  RequestOpener(Loop& loop, std::shared_ptr<dht::crypto::PrivateKey> key, const Budget& budget, Opened opened);

  /// False: one that waited had to go for it.
  bool add(SealedRequest sealed);
  /// Nothing is opened, and nothing told, from now on.
  void stop();

 private:
  struct Job;
  void open_next();
  void on_opened(const Job& job);

  Loop& loop_;
  std::shared_ptr<dht::crypto::PrivateKey> key_;  // second owner: a job on the pool
  const Budget budget_;
  Opened opened_;
  SealedQueue<SealedRequest> waiting_;
  bool busy_ = false;           ///< one is being opened, or the pause behind it goes on
  proto::TimePoint paid_at_{};  ///< when the share has paid for all that were opened
  Timer pause_;
  bool stopped_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< a job holds a weak_ptr: it may end after us
};

}  // namespace connd::daemon
