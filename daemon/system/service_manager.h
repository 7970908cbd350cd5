// SPDX-License-Identifier: GPL-3.0-or-later
/// ServiceManager: what systemd is told of the daemon's life (sd_notify(3)), and its watchdog. Without systemd,
/// nothing.
#pragma once

#include <string>

#include "daemon/event_loop/loop.h"
#include "daemon/system/environment.h"

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
  /// True of a service of a user's manager that ends with the user's last session, since nobody has said `loginctl
  /// enable-linger`: `lingering` is where systemd-logind(8) has a file for each user for whom that was said.
  static bool ends_with_login(const Environment& environment, const std::string& lingering = "/var/lib/systemd/linger");

 private:
  void ping();

  proto::Duration interval_{};
  Timer timer_;
};

}  // namespace connd::daemon
