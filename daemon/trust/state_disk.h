// SPDX-License-Identifier: GPL-3.0-or-later
/// StateDisk: the hand by which stores write to the state directory while the daemon runs. What is decided is decided
/// in memory, at once; the disk follows, on the pool, and who asked for a change hears of it when the disk has it.
///
/// One piece of work at a time, in the order in which it came, so that no older state lands after a newer one. A store
/// has one piece here at a time, or few: what changes meanwhile goes with the next one. So a disk that hangs makes no
/// queue that grows.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "daemon/event_loop/loop.h"
#include "daemon/system/outcome.h"

namespace connd::daemon {

/// Changes of a store that may wait for the disk, and callers that may wait for them; more are refused. They are made
/// by people: so many at once are a program's, on a disk that hangs.
inline constexpr std::size_t kMaxUnsavedChanges = 1'024;
/// What a change beyond that is refused with.
[[nodiscard]] inline Failure too_many_unsaved() {
  return failure(std::errc::resource_unavailable_try_again, "too many changes wait for the disk");
}

/// Used on the loop's thread.
class StateDisk {
 public:
  using Work = std::function<Outcome<void>()>;  ///< runs on the pool: it has copies of all that it needs
  using Done = std::function<void(const Outcome<void>&)>;

  /// `loop` lives longer.
  explicit StateDisk(Loop& loop) : loop_(loop) {}
  StateDisk(const StateDisk&) = delete;
  StateDisk& operator=(const StateDisk&) = delete;

  /// `done` is called in a later turn, unless this was destroyed before.
  void run(Work work, Done done);
  /// Calls `call` once nothing is left to be done; at once where that is so.
  void when_idle(std::function<void()> call);

 private:
  struct Job {
    Work work;
    Done done;
  };
  void run_next();
  void on_done(const Outcome<void>& outcome, const Done& done);

  Loop& loop_;
  std::deque<Job> jobs_;
  bool running_ = false;
  std::vector<std::function<void()>> idle_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< the pool's end has the other, weak, one
};

}  // namespace connd::daemon
