// SPDX-License-Identifier: GPL-3.0-or-later
/// UserPaces: how fast one local user may open channels, and give opens up: half of what one connection does
/// (connection/open_pace.h), so that others' opens over the same connection go on. Pure.
#pragma once

#include <cstdint>
#include <unordered_map>

#include <sys/types.h>

#include "proto/token_bucket.h"

namespace connd::daemon {

class UserPaces {
 public:
  static constexpr std::uint32_t kOpenBurst = 32'768;
  static constexpr std::uint32_t kOpensPerSecond = 5'000;
  static constexpr std::uint32_t kCancelBurst = 32'768;
  static constexpr std::uint32_t kCancelsPerSecond = 250;

  /// Whether this user may open now; if so, that is an open of its.
  bool may_open(uid_t uid, proto::TimePoint now) {
    Pace& pace = pace_of(uid, now);
    if (pace.cancelled_too_many) {
      if (!pace.cancels.take(now, kCancelPause)) return false;
      pace.cancels.add(kCancelPause);
      pace.cancelled_too_many = false;
    }
    return pace.opens.take(now);
  }
  /// An open that had no answer was given up. That is always possible: it is paid for by later opens.
  void cancelled(uid_t uid, proto::TimePoint now) {
    Pace& pace = pace_of(uid, now);
    if (!pace.cancels.take(now)) pace.cancelled_too_many = true;
  }
  [[nodiscard]] std::size_t size() const { return paces_.size(); }

 private:
  struct Pace {
    proto::TokenBucket opens;
    proto::TokenBucket cancels;
    proto::TimePoint used;
    bool cancelled_too_many = false;
  };
  /// Then users who have not opened for kForgetTime, in which every bucket is full again, are forgotten.
  static constexpr std::size_t kMaxUsers = 1'024;
  static constexpr proto::Duration kForgetTime = std::chrono::seconds(kCancelBurst / kCancelsPerSecond + 1);
  static constexpr std::uint32_t kCancelPause = 500;

  Pace& pace_of(uid_t uid, proto::TimePoint now) {
    if (paces_.size() >= kMaxUsers && !paces_.contains(uid)) {
      std::erase_if(paces_, [now](const auto& entry) { return now - entry.second.used > kForgetTime; });
    }
    const Pace fresh{{kOpenBurst, kOpensPerSecond, now}, {kCancelBurst, kCancelsPerSecond, now}, now};
    Pace& pace = paces_.try_emplace(uid, fresh).first->second;
    pace.used = now;
    return pace;
  }

  std::unordered_map<uid_t, Pace> paces_;
};

}  // namespace connd::daemon
