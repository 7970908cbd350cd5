// SPDX-License-Identifier: GPL-3.0-or-later
/// Reloader: the configuration, read again while the daemon runs: what may change now is taken over, the rest is named.
#pragma once

#include <functional>
#include <string>

#include "daemon/event_loop/loop.h"
#include "daemon/settings/config.h"
#include "daemon/system/outcome.h"

namespace connd::daemon {

/// Used on the loop's thread; files are read on the pool's.
class Reloader {
 public:
  using Read = std::function<Outcome<Config>()>;

  /// `running` is what the daemon runs with: it is changed here, and `changed` is called after that. All outlive this,
  /// and the loop does not run behind its end.
  Reloader(Loop& loop, Config& running, Read read, std::function<void()> changed);

  /// Reads, and once more if it is told so meanwhile: what was written after the reading began is not missed.
  void reload();
  /// What is being read is not taken over, and no more is read.
  void stop() { stopped_ = true; }

  /// Why what was read last is not, or not all, in effect; empty while it is.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  void on_read(const Outcome<Config>& wanted);
  void take_over(const Config& wanted);

  Loop& loop_;
  Config& running_;
  Read read_;
  std::function<void()> changed_;
  std::string problem_;
  bool reading_ = false;
  bool again_ = false;  ///< told so meanwhile
  bool stopped_ = false;
};

}  // namespace connd::daemon
