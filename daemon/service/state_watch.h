// SPDX-License-Identifier: GPL-3.0-or-later
/// StateWatch: sees while the daemon runs that its state directory can still be written: a disk that fills, a file
/// system that the kernel has made read-only, a directory that somebody removed. Who looks at the status hears of it
/// before something is lost.
#pragma once

#include <memory>
#include <string>

#include "daemon/event_loop/loop.h"

namespace connd::daemon {

/// Why `directory` cannot be written, in a clause; empty if it can. `write`: not only looks, but writes a file that has
/// no name, and ends with its descriptor. Blocks as long as the disk does. Any thread.
std::string state_problem(const std::string& directory, bool write);

/// Used on the loop's thread; the disk is waited for on the pool's.
class StateWatch {
 public:
  /// Looking costs no access of the disk, so it may be often; writing wakes one that sleeps.
  static constexpr proto::Duration kLookEvery = std::chrono::seconds(10);
  static constexpr unsigned kWriteEvery = 60;  ///< looks; also each one while there is a problem

  /// Looks at once. `loop` lives longer.
  StateWatch(Loop& loop, std::string directory, proto::Duration every = kLookEvery);

  /// One line for the user; empty while all is well.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  void look();
  void on_looked(const std::string& found);

  Loop& loop_;
  const std::string directory_;
  const proto::Duration every_;
  unsigned looks_ = 0;
  std::string problem_;
  Timer timer_;
  /// Ends with this object: work on the pool may end later, when the loop itself does.
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace connd::daemon
