// SPDX-License-Identifier: GPL-3.0-or-later
/// Daemon: the composition root. It builds all parts, wires them, and takes them down in order; it owns everything.
///
/// Start-up has two halves. What must be there for a daemon to be of any use (state directory, stores, control socket)
/// is made at once, and its failure is the end. Identity and network come later and are states: the control socket is
/// there meanwhile and says so.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/local_api/ipc_server.h"
#include "daemon/service/daemon_network.h"
#include "daemon/service/end_sequence.h"
#include "daemon/service/own_identity.h"
#include "daemon/service/reloader.h"
#include "daemon/service/state_watch.h"
#include "daemon/service/status_view.h"
#include "daemon/settings/config.h"
#include "daemon/system/crash_brake.h"
#include "daemon/system/fd_limits.h"
#include "daemon/system/network_monitor.h"
#include "daemon/system/service_manager.h"
#include "daemon/trust/state_dir.h"
#include "daemon/trust/state_disk.h"

namespace connd::daemon {

class Daemon final {
 public:
  /// State directory, stores and control socket. Failures are one line for the user.
  /// `read_again` gives the configuration at a reload; it is called on a thread of the loop's pool.
  static Outcome<std::unique_ptr<Daemon>> create(const Config& config, const Environment& environment,
                                                 std::function<Outcome<Config>()> read_again);
  ~Daemon();

  /// Runs until SIGTERM or SIGINT has been carried out. Returns the exit code.
  int run();

 private:
  /// What is made before a Daemon, and may fail.
  struct Ground {
    FdLimits fds;
    StateDir state;
    Stores stores;
    IpcSettings ipc;
    ControlListener listener;
  };

  Daemon(const Config& config, const Environment& environment, Ground ground, Reloader::Read read_again);

  [[nodiscard]] std::vector<EndSequence::Step> end_steps();
  void hold_back(const CrashBrake& brake);
  void on_identity();
  void on_identity_replaced();
  void on_addresses(const std::vector<std::string>& addresses);
  void on_network_stirred();
  void take_settings();
  void stop();
  void fail(const std::string& text);

  Config config_;
  const Environment environment_;
  const FdLimits fds_;
  StateDir state_dir_;
  Stores stores_;
  Loop loop_;
  StateDisk disk_{loop_};
  ConnectionParts parts_{loop_};
  EventHub events_;
  StatusView view_;
  IpcServer ipc_;
  DaemonNetwork network_;
  OwnIdentity identity_;
  Reloader reloader_;
  ServiceManager service_manager_{loop_};
  NetworkMonitor monitor_;
  StateWatch state_watch_;
  EndSequence end_;
  bool ends_with_login_ = false;
  int exit_code_ = 0;
};

}  // namespace connd::daemon
