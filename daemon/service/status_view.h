// SPDX-License-Identifier: GPL-3.0-or-later
/// StatusView: what the local API shows of the daemon. It only looks.
#pragma once

#include "daemon/local_api/daemon_view.h"
#include "daemon/service/daemon_network.h"
#include "daemon/service/end_sequence.h"
#include "daemon/service/own_identity.h"
#include "daemon/service/reloader.h"
#include "daemon/service/state_watch.h"
#include "daemon/system/network_monitor.h"

namespace connd::daemon {

/// Used on the loop's thread.
class StatusView final : public DaemonView {
 public:
  struct Parts {
    const Loop& loop;
    const Config& config;
    const FdLimits& fds;
    const OwnIdentity& identity;
    const DaemonNetwork& network;
    const Reloader& reloader;
    const StateWatch& state;
    const NetworkMonitor& monitor;
    const EndSequence& end;
  };

  /// All outlive this, but may be made after it: before the first call.
  explicit StatusView(const Parts& parts) : parts_(parts), started_(parts.loop.now()) {}

  [[nodiscard]] std::optional<ipc::IdentityResult> identity() const override;
  [[nodiscard]] ipc::DaemonState state() const override;
  [[nodiscard]] ipc::DhtState network() const override;
  [[nodiscard]] ipc::Reachable reachable() const override;
  void describe(ipc::DaemonStatus& status) const override;

 private:
  [[nodiscard]] double seconds_since(proto::TimePoint when) const;
  void describe_problems(ipc::DaemonStatus& status) const;
  void describe_dht(const DhtStatus& dht, ipc::DaemonStatus& status) const;
  void describe_reach(const DhtStatus& dht, ipc::DaemonStatus& status) const;
  void describe_metrics(ipc::Json& metrics) const;
  void describe_connections(const ConnectionManager& manager, ipc::DaemonStatus& status) const;
  static void describe_door(const Doors& doors, ipc::DaemonStatus& status);

  const Parts parts_;
  const proto::TimePoint started_;
};

}  // namespace connd::daemon
