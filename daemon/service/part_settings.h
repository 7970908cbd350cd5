// SPDX-License-Identifier: GPL-3.0-or-later
/// What the configuration says to each part. No state; any thread.
#pragma once

#include <string>

#include "daemon/connection/manager_context.h"
#include "daemon/dht/dht_client.h"
#include "daemon/local_api/ipc_settings.h"
#include "daemon/settings/config.h"
#include "daemon/system/fd_limits.h"
#include "daemon/trust/identity_store.h"

namespace connd::daemon {

/// Of the identity it has the keys.
DhtConfig dht_settings(const Config& config, const std::string& state_dir, const LoadedIdentity& identity);
/// Without what is the identity's own.
ManagerSettings manager_settings(const Config& config, const FdLimits& fds);
/// Without who may connect.
IpcSettings ipc_settings(const Config& config, const FdLimits& fds);

}  // namespace connd::daemon
