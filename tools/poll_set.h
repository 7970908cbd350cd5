// SPDX-License-Identifier: GPL-3.0-or-later
/// PollSet: the fds that one turn of a poll(2) loop waits for. Filled anew for each turn, by whoever has something to
/// wait for; asked after it. Regular files are always ready, as poll has it.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <limits>
#include <vector>

namespace connd::tools {

class PollSet {
 public:
  using Clock = std::chrono::steady_clock;
  /// What `add` gave; kNone is never ready.
  using Index = std::size_t;
  static constexpr Index kNone = std::numeric_limits<Index>::max();

  /// Waits for `events` (POLLIN, POLLOUT) on `fd`, or for its failure.
  Index add(int fd, short events);
  /// The turn ends at `when` at the latest.
  void wake_at(Clock::time_point when);
  /// Blocks until something is ready or it is time.
  void wait();
  /// True when an event, an error or a hang-up was reported.
  [[nodiscard]] bool ready(Index index) const { return index < fds_.size() && fds_[index].revents != 0; }

 private:
  std::vector<pollfd> fds_;
  Clock::time_point wake_ = Clock::time_point::max();
};

}  // namespace connd::tools
