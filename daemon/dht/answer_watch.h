// SPDX-License-Identifier: GPL-3.0-or-later
/// AnswerWatch: when to look for answers at the nodes that store them, beside the listen that should bring them: a
/// listen that is not in force yet, or not any more, would cost an open half a minute. One for all requests that wait.
/// Sans-IO, on one thread.
#pragma once

#include <algorithm>
#include <array>

#include "proto/time.h"

namespace connd::daemon {

class AnswerWatch {
 public:
  /// After a request. An answer takes 0.1 to 0.3 s when all is well.
  static constexpr std::array kLooks{proto::Duration(300), proto::Duration(1'000), proto::Duration(2'000)};
  /// From then on, as long as requests are repeated; two looks never come closer, however many requests there are.
  static constexpr proto::Duration kInterval{1'000};
  /// A request is repeated after 3 s (proto::ConnectTimes::resend): who has not done so waits no more.
  static constexpr proto::Duration kPatience{3'500};

  /// A request has been sent, or sent again.
  void on_request(proto::TimePoint now) {
    until_ = now + kPatience;
    if (next_ != proto::kNever) return;
    begun_ = now;
    step_ = 0;
    next_ = now + kLooks[0];
  }
  /// True: look now. Call it when next_deadline() has come.
  bool due(proto::TimePoint now) {
    if (now < next_) return false;
    ++step_;
    next_ = step_ < kLooks.size() ? std::max(now, begun_ + kLooks[step_]) : now + kInterval;
    if (next_ > until_) next_ = proto::kNever;
    return true;
  }
  [[nodiscard]] proto::TimePoint next_deadline() const { return next_; }

 private:
  proto::TimePoint begun_{};
  proto::TimePoint until_{};
  proto::TimePoint next_ = proto::kNever;
  std::size_t step_ = 0;
};

}  // namespace connd::daemon
