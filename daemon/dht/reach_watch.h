// SPDX-License-Identifier: GPL-3.0-or-later
/// ReachWatch: carries out what Reachability decides: it has the timers, sees what came and that the machine slept, and
/// tells of each change.
///
/// On the loop's thread. Part of DhtClient.
#pragma once

#include <cstdint>
#include <functional>

#include "daemon/dht/dht_poster.h"
#include "daemon/dht/reachability.h"
#include "daemon/event_loop/loop.h"
#include "daemon/system/sleep_watch.h"

namespace connd::daemon {

class ReachWatch {
 public:
  /// Those of ReachAction. Any of them, and `told`, may destroy the client, or call `stop`.
  struct Actions {
    std::function<void()> wake_listens;
    std::function<void()> wake_all;
    std::function<void()> test;
    std::function<void()> renew;
    std::function<std::uint64_t()> received;  ///< datagrams since the start
    std::function<void(Reach)> told;          ///< at each change
  };

  /// `poster` keeps this alive while it acts.
  ReachWatch(Loop& loop, DhtPoster poster, Actions actions);

  /// From now on it looks at what comes.
  void begin() { watch_traffic(); }
  /// Something has changed, or may have.
  void on_sign();
  void on_connected(bool connected);
  void on_node_made();
  void on_test_passed();
  /// Nothing is done, and nothing told, from now on.
  void stop();

  [[nodiscard]] const Reachability& now() const { return reach_; }

 private:
  void look_after();
  void carry_out(ReachAction action);
  void watch_traffic();

  Loop& loop_;
  DhtPoster poster_;
  const Actions actions_;
  Reachability reach_;
  Reach told_ = Reach::kUnknown;
  bool stopped_ = false;
  Timer timer_;
  Timer traffic_timer_;
  SleepWatch sleep_watch_;
};

}  // namespace connd::daemon
