// SPDX-License-Identifier: GPL-3.0-or-later
/// RateMeter: bytes per second over the last few seconds. Time is an argument.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace connd::tools {

class RateMeter {
 public:
  using Clock = std::chrono::steady_clock;
  /// Short enough to follow a change, long enough for a number that can be read.
  static constexpr std::chrono::milliseconds kStep{250};
  static constexpr std::size_t kSteps = 12;

  void add(std::uint64_t bytes, Clock::time_point now);
  /// 0 while nothing is known.
  [[nodiscard]] double bytes_per_second(Clock::time_point now) const;

 private:
  void advance(std::int64_t step);
  [[nodiscard]] static std::int64_t step_of(Clock::time_point now) { return now.time_since_epoch() / kStep; }

  std::array<std::uint64_t, kSteps> bytes_{};  // by step modulo kSteps
  std::int64_t step_ = 0;                      // the latest with bytes
  Clock::time_point first_{};                  // when bytes first came; epoch: never
};

}  // namespace connd::tools
