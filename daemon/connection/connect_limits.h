// SPDX-License-Identifier: GPL-3.0-or-later
/// Times and bounds of bringing connections up that no class of its own has, each with its reason. Those that a peer
/// can notice are in proto/PROTOCOL.md, section 18.
#pragma once

#include <cstddef>

#include "proto/channel.h"
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
/// Failed attempts whose peers are told why: a descriptor each, for GoodBye::kDrainTime.
inline constexpr std::size_t kMaxLeaving = 64;
/// Connections whose peer's certificate has expired meanwhile are ended this late, at most.
inline constexpr proto::Duration kDatesInterval = std::chrono::hours(1);

/// What may be set.
struct ManagerLimits {
  std::size_t max_connections = 4'096;
  /// Of all connections together; requests of peers that wait for an answer count.
  std::size_t max_channels = proto::kMaxChannels;
  /// With one peer, ours and its own: beyond, its requests are refused. 0: no such bound, it may take all there are.
  std::size_t max_channels_per_peer = 0;
  std::size_t max_pending_opens = 65'536;
  /// Of the names of all channels and pending opens together, requests that wait for an answer included: each is kept
  /// some four times.
  std::size_t max_name_bytes = std::size_t{64} << 20;
  /// Of those on one connection that its peer has asked for, so that one peer does not take them all.
  std::size_t max_peer_name_bytes = std::size_t{4} << 20;
  /// Set-ups under way that peers asked for; of them, those by peers that are not allowed.
  std::size_t max_setups = 32;
  std::size_t max_unknown_setups = 4;
  /// A connection without channels is closed after this long.
  proto::Duration idle_time = std::chrono::seconds(300);
  /// A second connection with the same peer, after this long without channels.
  proto::Duration spare_idle_time = std::chrono::seconds(10);
};

}  // namespace connd::daemon
