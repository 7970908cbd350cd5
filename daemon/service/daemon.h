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

#include "daemon/dht/dht_signalling.h"
#include "daemon/local_api/ipc_server.h"
#include "daemon/path/front_door.h"
#include "daemon/service/state_watch.h"
#include "daemon/settings/config.h"
#include "daemon/system/fd_limits.h"
#include "daemon/system/network_monitor.h"
#include "daemon/system/service_manager.h"
#include "daemon/trust/identity_keeper.h"
#include "daemon/trust/identity_store.h"
#include "daemon/trust/state_dir.h"
#include "daemon/trust/state_disk.h"

namespace connd::daemon {

class Daemon final : private DaemonView {
 public:
  /// State directory, stores and control socket. Failures are one line for the user.
  /// `read_again` gives the configuration at a reload; it is called on a thread of the loop's pool.
  static Outcome<std::unique_ptr<Daemon>> create(const Config& config, const Environment& environment,
                                                 std::function<Outcome<Config>()> read_again);
  ~Daemon();

  /// Runs until SIGTERM or SIGINT has been carried out. Returns the exit code.
  int run();

 private:
  /// Everything that needs an identity.
  struct Network;

  Daemon(Config config, Environment environment, FdLimits fds, StateDir state, Stores stores, IpcSettings ipc,
         ControlListener listener);

  void load_identity();
  void on_identity(Outcome<LoadedIdentity> loaded);
  void join_network();
  void retry();
  void begin_network();
  void on_beginning(const Outcome<std::shared_ptr<const DhtBeginning>>& beginning);
  Outcome<void> start_network(const LoadedIdentity& loaded,
                              const Outcome<std::shared_ptr<const DhtBeginning>>& beginning);
  [[nodiscard]] Outcome<std::unique_ptr<FrontDoor>> open_door();
  [[nodiscard]] std::vector<HostPort> stun_places() const;
  void on_addresses(const std::vector<std::string>& addresses);
  void on_network_stirred();
  void check_own_certificate();
  [[nodiscard]] std::optional<std::string> own_certificate_problem() const;
  void describe_reach(const DhtStatus& dht, ipc::DaemonStatus& status) const;
  void reload();
  void on_reloaded(const Outcome<Config>& wanted);
  void take_over(const Config& wanted);
  void stop();
  void stop_clients();
  void stop_dht();
  void on_all_stopped();
  void on_identity_replaced();
  void network_ended();
  void fail(const std::string& text);
  [[nodiscard]] DhtConfig dht_config(const LoadedIdentity& loaded) const;
  [[nodiscard]] ConnectionManager::Settings manager_settings() const;
  [[nodiscard]] static IpcSettings ipc_settings(const Config& config, const FdLimits& fds);

  // DaemonView
  [[nodiscard]] std::optional<ipc::IdentityResult> identity() const override;
  [[nodiscard]] ipc::DaemonState state() const override;
  [[nodiscard]] ipc::DhtState network() const override;
  [[nodiscard]] ipc::Reachable reachable() const override;
  void describe(ipc::DaemonStatus& status) const override;

  Config config_;
  const Environment environment_;
  std::function<Outcome<Config>()> read_again_;
  const FdLimits fds_;
  StateDir state_dir_;
  Stores stores_;
  Loop loop_;
  StateDisk disk_{loop_};
  const proto::TimePoint started_;
  EdgePoller poller_{loop_};
  TurnQueue turns_{loop_};
  GlibBridge bridge_{loop_};
  PumpScratch scratch_;
  HandleSources handles_;
  EventHub events_;
  IpcServer ipc_;
  std::optional<LoadedIdentity> identity_;
  std::uint64_t identities_ = 0;  ///< that were loaded: a beginning is of one of them
  std::optional<IdentityKeeper> keeper_;
  std::unique_ptr<Network> network_;
  std::uint16_t remembered_port_ = 0;  ///< of the front door; 0: none
  proto::TimePoint join_at_{};         ///< not before; after crashes it is later than the start
  std::string pause_reason_;           ///< why it is
  std::string problem_;                ///< why there is no network, if it failed
  std::string reload_problem_;         ///< why the configuration that was read last is not, or not all, in effect
  ServiceManager service_manager_{loop_};
  std::optional<SignalWatcher> sigterm_;
  std::optional<SignalWatcher> sigint_;
  std::optional<SignalWatcher> sighup_;
  Timer retry_;
  Timer end_;        ///< of what is orderly at the end
  Timer own_dates_;  ///< this device's certificate against its clock
  NetworkMonitor monitor_;
  StateWatch state_watch_;
  std::uint64_t network_changes_ = 0;
  bool ends_with_login_ = false;
  bool stopping_ = false;
  bool reloading_ = false;
  bool reload_again_ = false;  ///< SIGHUP came meanwhile
  bool restarting_ = false;    ///< the network ends, to begin anew with another identity
  int exit_code_ = 0;
};

}  // namespace connd::daemon
