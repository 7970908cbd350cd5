// SPDX-License-Identifier: GPL-3.0-or-later
/// TokenBucket: a burst at once, a rate in the long run.
#pragma once

#include <algorithm>
#include <cstdint>

#include "proto/time.h"

namespace connd::proto {

class TokenBucket {
 public:
  /// `burst` tokens at the start and at most; `rate` tokens come back each second (0: none by time).
  TokenBucket(std::uint32_t burst, std::uint32_t rate, TimePoint now)
      : burst_(std::uint64_t{burst} * kScale), rate_(rate), tokens_(burst_), updated_(now) {}

  /// Takes `count` tokens; false, and nothing taken, when there are fewer.
  [[nodiscard]] bool take(TimePoint now, std::uint32_t count = 1) {
    if (now > updated_) {
      // Milliseconds times tokens per second are thousandths of a token. A long gap is cut before it can overflow.
      const auto elapsed = static_cast<std::uint64_t>(std::min<Duration::rep>((now - updated_).count(), 1'000'000'000));
      tokens_ = std::min(burst_, tokens_ + elapsed * rate_);
      updated_ = now;
    }
    const std::uint64_t cost = std::uint64_t{count} * kScale;
    if (tokens_ < cost) return false;
    tokens_ -= cost;
    return true;
  }
  /// Gives tokens back by other means than time.
  void add(std::uint32_t count) { tokens_ = std::min(burst_, tokens_ + std::uint64_t{count} * kScale); }

 private:
  static constexpr std::uint64_t kScale = 1'000;
  std::uint64_t burst_;
  std::uint64_t rate_;
  std::uint64_t tokens_;
  TimePoint updated_;
};

}  // namespace connd::proto
