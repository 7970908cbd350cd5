// SPDX-License-Identifier: GPL-3.0-or-later
/// EndSequence: the orderly end: one step after the other, each begun when the one before is through; and, when that
/// takes too long, the end without the rest of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/event_loop/loop.h"

namespace connd::daemon {

/// Used on the loop's thread.
class EndSequence {
 public:
  struct Step {
    std::string what;  ///< for the log: "connections"
    /// Calls `through` once, maybe at once.
    std::function<void(std::function<void()> through)> run;
  };

  /// `over` is called once, when all steps are through or their time is.
  EndSequence(Loop& loop, std::vector<Step> steps, std::function<void()> over);

  /// The steps have so long, together. Once.
  void begin(proto::Duration time);
  [[nodiscard]] bool begun() const { return begun_; }

 private:
  void next();
  void on_time();
  void end();

  std::vector<Step> steps_;
  std::function<void()> over_;
  std::size_t at_ = 0;  ///< the step after the one that runs
  bool begun_ = false;
  bool ended_ = false;
  Timer timer_;
};

}  // namespace connd::daemon
