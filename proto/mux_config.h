// SPDX-License-Identifier: GPL-3.0-or-later
/// MuxConfig: what the owner of a mux decides for it.
#pragma once

#include <cstdint>

#include "proto/limits.h"
#include "proto/time.h"

namespace connd::proto {

/// Which half of the channel ids is ours: SPEC section 5 ties it to the TLS role.
enum class MuxSide : std::uint8_t { kClient, kServer };

struct MuxConfig {
  MuxSide side = MuxSide::kClient;
  std::uint32_t max_channels = kMaxChannels;  ///< of both sides together; requests above are refused
  /// What our hello says at most: the owner may refuse requests sooner.
  std::uint32_t told_channels = kMaxChannels;
  std::uint64_t max_buffer = kMaxConnectionBuffer;
  std::uint32_t max_window = kMaxWindow;  ///< what our receive windows grow to; see max_window_for
  Duration keepalive_interval = kKeepaliveInterval;
};

}  // namespace connd::proto
