// SPDX-License-Identifier: GPL-3.0-or-later
/// What clients are shown of channels and connections, in lists and in events.
#pragma once

#include "daemon/connection/connection_manager.h"
#include "daemon/local_api/channel_owners.h"
#include "daemon/trust/stores.h"
#include "ipc/api_admin.h"

namespace connd::daemon {

/// `owned`: whose it is; null where that is not to be seen.
[[nodiscard]] ipc::ChannelInfo channel_info(const ChannelView& view, const OwnedChannel* owned, proto::TimePoint now);
[[nodiscard]] ipc::ConnectionInfo connection_info(const ConnectionView& view, const Stores& stores,
                                                  proto::TimePoint now);

}  // namespace connd::daemon
