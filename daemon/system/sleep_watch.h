// SPDX-License-Identifier: GPL-3.0-or-later
/// SleepWatch: tells when the machine, or this process, stood still. Its timer runs by CLOCK_BOOTTIME, which goes on
/// while the machine is suspended: it is due when the machine wakes, where a timer of the loop would wait for the rest
/// of its time (timerfd_create(2)).
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "daemon/event_loop/loop.h"
#include "ipc/fd.h"

namespace connd::daemon {

/// A clock that goes on while the machine is suspended (clock_gettime(2), CLOCK_BOOTTIME).
std::chrono::nanoseconds boot_time();

/// What the ticks say. Knows no clock.
class SleepGauge {
 public:
  SleepGauge(std::chrono::nanoseconds now, std::chrono::nanoseconds interval, std::chrono::seconds gap)
      : last_(now), interval_(interval), gap_(gap) {}
  /// A tick, one for all that were missed. How much longer than the interval it took, from `gap` on; else 0.
  std::chrono::seconds on_tick(std::chrono::nanoseconds now) {
    const auto late = std::chrono::duration_cast<std::chrono::seconds>(now - last_ - interval_);
    last_ = now;
    return late >= gap_ ? late : std::chrono::seconds(0);
  }

 private:
  std::chrono::nanoseconds last_;
  std::chrono::nanoseconds interval_;
  std::chrono::seconds gap_;
};

class SleepWatch {
 public:
  /// Few enough to cost nothing. A sleep that is shorter may be noticed late.
  static constexpr std::chrono::seconds kInterval{20};
  /// When a tick is this late, somebody slept.
  static constexpr std::chrono::seconds kGap{3};

  /// `on_woken` in a later turn. Without such timers (a sandbox) it is never called.
  SleepWatch(Loop& loop, std::function<void(std::chrono::seconds stood_still)> on_woken);

 private:
  void on_tick();

  std::function<void(std::chrono::seconds)> on_woken_;
  ipc::Fd timer_;
  SleepGauge gauge_;
  std::unique_ptr<Poll> poll_;  // after the timer: it must go first
};

}  // namespace connd::daemon
