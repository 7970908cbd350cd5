// SPDX-License-Identifier: GPL-3.0-or-later
/// TurnQueue: work gathered during a loop turn, done once at its end. So output is flushed once per turn, however many
/// events asked for it.
#pragma once

#include <vector>

#include "daemon/event_loop/loop.h"

namespace connd::daemon {

class TurnQueue;

/// Something with work at the end of a turn. Leaves the queue when it is destroyed.
class TurnClient {
 public:
  TurnClient(const TurnClient&) = delete;
  TurnClient& operator=(const TurnClient&) = delete;

  /// Asks for on_turn() at the end of this turn. Costs nothing when that was asked for already.
  void request_turn();

 protected:
  explicit TurnClient(TurnQueue& queue) : queue_(queue) {}
  ~TurnClient();

  /// Returns true when there is more to do: it comes again in the next turn, after I/O had its chance.
  virtual bool on_turn() = 0;

 private:
  friend class TurnQueue;
  TurnQueue& queue_;
  bool queued_ = false;
};

class TurnQueue {
 public:
  explicit TurnQueue(Loop& loop) : before_wait_(loop, [this] { run(); }) {}

 private:
  friend class TurnClient;
  void run();

  std::vector<TurnClient*> clients_;  ///< of the coming turn's end; an entry is null when its client went
  std::vector<TurnClient*> running_;
  BeforeWait before_wait_;
};

}  // namespace connd::daemon
