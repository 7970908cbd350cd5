// SPDX-License-Identifier: GPL-3.0-or-later
/// Times and bounds of bringing connections up that no class of its own has, each with its reason. Those that a peer
/// can notice are in proto/PROTOCOL.md, section 18.
#pragma once

#include <cstddef>

#include "proto/time.h"

namespace connd::daemon {

/// Between attempts after the second failure in a row; the first is repeated at once.
inline constexpr proto::Duration kFirstBackoff = std::chrono::milliseconds(200);
inline constexpr unsigned kMaxBackoffDoublings = 4;
/// Requests that found no room, and come again every three seconds for as long as their caller's attempt lasts.
inline constexpr std::size_t kMaxTurnedAway = 1'024;
inline constexpr proto::Duration kTurnedAwayPause = std::chrono::seconds(1);
inline constexpr proto::Duration kTurnedAwayTime = std::chrono::seconds(30);
/// Two while both sides dial, and dead ones until they are noticed: none of them needs more, and one peer shall not
/// have all that there are.
inline constexpr std::size_t kMaxConnectionsPerPeer = 8;
/// Failed attempts whose peers are told why: a descriptor each, for MultiplexedSocket::kDrainTime.
inline constexpr std::size_t kMaxLeaving = 64;

}  // namespace connd::daemon
