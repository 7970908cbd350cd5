// SPDX-License-Identifier: GPL-3.0-or-later
/// FloodGuard: how many control objects a peer may send, by kind (PROTOCOL.md, section 14, "Token buckets"). An object
/// that finds its bucket empty ends the connection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "proto/limits.h"
#include "proto/time.h"
#include "proto/token_bucket.h"

namespace connd::proto {

class FloodGuard {
 public:
  explicit FloodGuard(TimePoint now)
      : requests_(kRequestBurst, kRequestRate, now),
        noise_(kNoiseBurst, kNoiseRate, now),
        windows_(kWindowBurst, 0, now) {}

  // Each returns false when it is a flood.

  /// A request, or the `unique` before it.
  [[nodiscard]] bool request(TimePoint now) { return requests_.take(now); }
  /// What is allowed and means nothing, and pings.
  [[nodiscard]] bool noise(TimePoint now) { return noise_.take(now); }
  [[nodiscard]] bool window(TimePoint now) {
    const std::size_t earned = sent_ / kBytesPerWindow;
    sent_ -= earned * kBytesPerWindow;
    windows_.add(static_cast<std::uint32_t>(std::min<std::size_t>(earned, kWindowBurst)));
    return windows_.take(now);
  }

  /// A request or an accept has come: behind each stands a first credit. These have bounds of their own.
  void channel_came() { windows_.add(1); }
  /// `bytes` of body were sent to the peer, which gives credit back for them.
  void sent(std::size_t bytes) { sent_ += bytes; }

 private:
  TokenBucket requests_;
  TokenBucket noise_;
  TokenBucket windows_;
  std::size_t sent_ = 0;  ///< body bytes not yet turned into tokens of windows_
};

}  // namespace connd::proto
