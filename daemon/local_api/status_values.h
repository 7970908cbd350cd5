// SPDX-License-Identifier: GPL-3.0-or-later
/// What the daemon's parts know of themselves, in the words of the local API. No state; any thread.
#pragma once

#include <string>
#include <vector>

#include "daemon/dht/dht_client.h"
#include "daemon/settings/config.h"
#include "daemon/settings/policy.h"
#include "ipc/api_admin.h"

namespace connd::daemon {

ipc::DhtState api_state(DhtState state);
ipc::Reachable api_reach(Reach reach);
ipc::IceRequestPolicy api_policy(IceRequestPolicy policy);
std::vector<std::string> texts(const std::vector<HostPort>& places);

/// Each option that is a number, under its own name: times in seconds, sizes in bytes.
void add_limits(const Config& config, ipc::Json& limits);

}  // namespace connd::daemon
