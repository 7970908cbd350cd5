// SPDX-License-Identifier: GPL-3.0-or-later
/// DaemonView: what the local API shows of the daemon as a whole.
#pragma once

#include <optional>
#include <string>

#include "ipc/api_admin.h"

namespace connd::daemon {

/// The composition root implements it. Called on the loop's thread, and often: it looks things up, it does no I/O.
class DaemonView {
 public:
  /// Nothing until there is an identity.
  [[nodiscard]] virtual std::optional<ipc::IdentityResult> identity() const = 0;
  /// kReady: identity and network are up.
  [[nodiscard]] virtual ipc::DaemonState state() const = 0;
  [[nodiscard]] virtual ipc::DhtState network() const = 0;
  [[nodiscard]] virtual ipc::Reachable reachable() const = 0;
  /// A call can be made now: identity and network are up, and a node of the DHT answers.
  [[nodiscard]] bool ready() const {
    return state() == ipc::DaemonState::kReady && network() == ipc::DhtState::kConnected;
  }
  /// Fills version, uptime, dht, ice_request, limits, metrics and problems. The rest is the API's own to know: pid,
  /// state, ids, counts, and its own entries in limits and metrics (MetricSources).
  virtual void describe(ipc::DaemonStatus& status) const = 0;

 protected:
  ~DaemonView() = default;
};

}  // namespace connd::daemon
