// SPDX-License-Identifier: GPL-3.0-or-later
/// What bounds the local API, and what it counts.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "daemon/local_api/client_access.h"
#include "daemon/local_api/listener_table.h"
#include "daemon/local_api/user_places.h"
#include "ipc/limits.h"
#include "proto/mux.h"
#include "proto/time.h"

namespace connd::daemon {

struct IpcSettings {
  ClientAccess access = ClientAccess::user_service();
  std::size_t max_clients = 256;
  std::size_t max_channels_per_client = 65'536;
  std::size_t max_uncollected_fds = ipc::kMaxUncollectedFds;
  /// A listener that was asked has this long to answer.
  proto::Duration ask_time = std::chrono::seconds(30);
  /// Requests of peers that wait for one client's answer.
  std::size_t max_asked_per_client = 4'096;
  ListenerLimits listeners;
  /// What one local user may have: of the clients above, of the listeners, and of what the ConnectionManager may have
  /// in all, which is told here once more. A user service has one user, who gets everything.
  UserPlaces places;
  std::size_t max_channels = proto::kMaxChannels;
  std::size_t max_connections = 4'096;
  std::size_t max_pending_opens = 65'536;
  std::size_t max_open_name_bytes = std::size_t{64} << 20;
  std::vector<PrefixReservation> reservations;
  /// Of an open that says nothing of it.
  proto::Duration open_time = std::chrono::seconds(30);
};

/// Sums since the daemon began.
struct ClientTotals {
  std::uint64_t clients_dropped = 0;  ///< they did not read
  std::uint64_t events_lost = 0;      ///< of all subscribers
  std::uint64_t limits_hit = 0;  ///< times that a client was told resource-limit, or a peer, for a client's sake, busy
};

}  // namespace connd::daemon
