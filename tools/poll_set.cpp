// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/poll_set.h"

#include <algorithm>

namespace connd::tools {

PollSet::Index PollSet::add(int fd, short events) {
  fds_.push_back({fd, events, 0});
  return fds_.size() - 1;
}

void PollSet::wake_at(Clock::time_point when) {
  wake_ = std::min(wake_, when);
}

void PollSet::wait() {
  int timeout_ms = -1;
  if (wake_ != Clock::time_point::max()) {
    constexpr std::int64_t kLongest = 60'000;  // an int's worth of milliseconds is bounded; the loop just turns again
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(wake_ - Clock::now()).count();
    timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongest));
  }
  // An error (EINTR, ENOMEM) leaves no fd ready, and the caller's loop turns again.
  static_cast<void>(::poll(fds_.data(), fds_.size(), timeout_ms));
}

}  // namespace connd::tools
