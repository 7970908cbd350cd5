// SPDX-License-Identifier: GPL-3.0-or-later
/// Time as proto/ knows it: an argument. The daemon passes its loop's monotonic time, tests pass virtual time.
#pragma once

#include <chrono>

namespace connd::proto {

using Duration = std::chrono::milliseconds;
/// Monotonic, milliseconds since an arbitrary start. A clock of its own, so that no real clock converts by accident.
struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock, Duration>;
  static constexpr bool is_steady = true;
};
using TimePoint = MonotonicClock::time_point;
/// "No deadline".
inline constexpr TimePoint kNever = TimePoint::max();

}  // namespace connd::proto
