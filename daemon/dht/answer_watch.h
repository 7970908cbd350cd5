// SPDX-License-Identifier: GPL-3.0-or-later
/// AnswerWatch: whose answers are awaited, and when to look for them at the nodes that store them, beside the listen
/// that should bring them: a listen that is not in force yet, or not any more, would cost an open half a minute. The
/// looks are one for all requests that wait. Sans-IO, on one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>

#include "proto/device_id.h"
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
  /// Peers whose answers are asked for at the keys of pairs, too; of more, at the public keys alone.
  static constexpr std::size_t kMaxAwaited = 64;

  /// A request has been sent to this peer, or sent again.
  void on_request(const proto::DeviceId& peer, proto::TimePoint now) {
    until_ = now + kPatience;
    std::erase_if(awaited_, [now](const auto& one) { return one.second <= now; });
    if (awaited_.size() < kMaxAwaited || awaited_.contains(peer)) awaited_[peer] = until_;
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
  /// In a look: whether this peer is one of those that are asked for by name.
  [[nodiscard]] bool awaits(const proto::DeviceId& peer) const { return awaited_.contains(peer); }

 private:
  proto::TimePoint begun_{};
  proto::TimePoint until_{};
  proto::TimePoint next_ = proto::kNever;
  std::size_t step_ = 0;
  std::map<proto::DeviceId, proto::TimePoint> awaited_;  ///< and until when
};

}  // namespace connd::daemon
