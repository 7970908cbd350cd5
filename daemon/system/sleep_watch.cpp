// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/sleep_watch.h"

#include <unistd.h>

#include <cstdint>
#include <ctime>

#include <sys/timerfd.h>

namespace connd::daemon {
namespace {

ipc::Fd open_timer() {
  ipc::Fd fd(::timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  itimerspec times{};
  times.it_interval.tv_sec = times.it_value.tv_sec = SleepWatch::kInterval.count();
  if (!fd || ::timerfd_settime(fd.get(), 0, &times, nullptr) != 0) return {};
  return fd;
}

}  // namespace

std::chrono::nanoseconds boot_time() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

SleepWatch::SleepWatch(Loop& loop, std::function<void(std::chrono::seconds)> on_woken)
    : on_woken_(std::move(on_woken)), timer_(open_timer()), gauge_(boot_time(), kInterval, kGap) {
  if (!timer_) return;
  poll_ = std::make_unique<Poll>(loop, timer_.get(), [this](int) { on_tick(); });
  poll_->want(Poll::kReadable);
}

void SleepWatch::on_tick() {
  std::uint64_t ticks = 0;
  // Only that it has come counts, and the time.
  [[maybe_unused]] const ssize_t size = ::read(timer_.get(), &ticks, sizeof ticks);
  poll_->want(Poll::kReadable);
  const std::chrono::seconds late = gauge_.on_tick(boot_time());
  if (late.count() != 0) on_woken_(late);
}

}  // namespace connd::daemon
