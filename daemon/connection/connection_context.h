// SPDX-License-Identifier: GPL-3.0-or-later
/// What all connections of the daemon share.
#pragma once

#include <cstdint>

#include "daemon/event_loop/edge_poller.h"
#include "daemon/event_loop/loop.h"
#include "daemon/event_loop/turn_queue.h"
#include "daemon/link/link.h"
#include "proto/channel.h"

namespace connd::daemon {

/// Numbers that clients see: none comes again while the daemon runs, whatever identity its network has.
struct HandleSources {
  proto::HandleSource channels;
  proto::HandleSource connections;
  proto::HandleSource questions;  ///< whether a peer may connect
};

/// All outlive every connection.
struct ConnectionContext {
  Loop& loop;
  EdgePoller& poller;
  TurnQueue& turns;
  PumpScratch& scratch;
  HandleSources& handles;
};

using ConnectionNumber = std::uint64_t;

}  // namespace connd::daemon
