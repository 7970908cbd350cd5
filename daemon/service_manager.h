// SPDX-License-Identifier: GPL-3.0-or-later
/// ServiceManager: what systemd is told of the daemon's life (sd_notify(3)), and its watchdog. Without systemd,
/// nothing.
#pragma once

#include "daemon/loop.h"

namespace connd::daemon {

class ServiceManager {
 public:
  /// If a watchdog is set (WatchdogSec=), it hears of the loop from now on, twice in its time: a loop that hangs is
  /// found, whatever its threads do.
  explicit ServiceManager(Loop& loop);

  /// Started, or reloaded.
  static void ready();
  static void reloading();
  static void stopping();

 private:
  void ping();

  proto::Duration interval_{};
  Timer timer_;
};

}  // namespace connd::daemon
