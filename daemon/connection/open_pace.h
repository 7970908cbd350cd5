// SPDX-License-Identifier: GPL-3.0-or-later
/// OpenPace: how many channels this side opens on a connection, and cancels, so that the peer does not take it for a
/// flood and end the connection of all: one local program may open for ever.
#pragma once

#include <cstdint>

#include "proto/limits.h"
#include "proto/time.h"
#include "proto/token_bucket.h"

namespace connd::daemon {

class OpenPace {
 public:
  /// PROTOCOL.md 14: "SHOULD keep to half of a bucket, burst and refill", since what was sent over a while may come at
  /// once: all ids there are, then this many a second.
  static constexpr std::uint32_t kOpenBurst = proto::kRequestBurst / 2;
  static constexpr std::uint32_t kOpenRate = proto::kRequestRate / 2;
  /// What is pending when these are used up may be cancelled all the same: as many as there are ids of ours.
  static constexpr std::uint32_t kCancelBurst = proto::kNoiseBurst - 32'768;
  static constexpr std::uint32_t kCancelRate = proto::kNoiseRate / 2;
  /// Then nothing is opened until so many more may be cancelled.
  static constexpr std::uint32_t kCancelPause = 1'000;

  explicit OpenPace(proto::TimePoint now)
      : opens_(kOpenBurst, kOpenRate, now), cancels_(kCancelBurst, kCancelRate, now) {}

  /// Counts an open, if it may be made.
  [[nodiscard]] bool open(proto::TimePoint now) {
    if (cancelled_too_many_) {
      if (!cancels_.take(now, kCancelPause)) return false;
      cancels_.add(kCancelPause);
      cancelled_too_many_ = false;
    }
    return opens_.take(now);
  }
  /// An open was cancelled. That may cross its answer, and is noise to the peer then.
  void cancelled(proto::TimePoint now) {
    if (!cancels_.take(now)) cancelled_too_many_ = true;
  }

 private:
  proto::TokenBucket opens_;
  proto::TokenBucket cancels_;
  bool cancelled_too_many_ = false;
};

}  // namespace connd::daemon
