// SPDX-License-Identifier: GPL-3.0-or-later
/// What the parts of a ConnectionManager share.
#pragma once

#include <optional>

#include "daemon/connection/channel_apps.h"
#include "daemon/connection/connect_limits.h"
#include "daemon/connection/event_hub.h"
#include "daemon/connection/known_chains.h"
#include "daemon/connection/multiplexed_socket.h"
#include "daemon/connection/request_gate.h"
#include "daemon/dht/signalling.h"
#include "daemon/event_loop/glib_bridge.h"
#include "daemon/ice/ice_agent.h"
#include "daemon/path/doors.h"
#include "daemon/trust/stores.h"
#include "proto/connect.h"

namespace connd::daemon {

/// All outlive the manager.
struct ManagerContext {
  ConnectionContext connections;
  GlibBridge& bridge;
  Signalling& signalling;
  Stores& stores;
  EventHub& events;
  ChannelApps& apps;
  ConnectionAsker& asker;
  Doors* doors = nullptr;  ///< null: paths are ICE's alone
};

struct ManagerSettings {
  ManagerLimits limits;
  proto::MuxConfig mux;
  proto::ConnectTimes times;
  IceConfig ice;
  GateSettings gate;
  bool native = true;  ///< off: to everybody this device looks like one of Jami's; for tests
  /// When this device's own chain is valid, for what people are told.
  std::optional<proto::Validity> own_validity = std::nullopt;
  /// SubjectPublicKeyInfo, DER; empty: other daemons with this device's identity are not looked for.
  proto::ByteVector own_public_key{};
  proto::ByteVector own_chain{};  ///< in DER; for those who do not know us yet
  KnownChains::Clock clock{};     ///< seconds since 1970; another than the machine's, for tests
};

}  // namespace connd::daemon
