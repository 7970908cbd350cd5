// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/clone_watch.h"

#include <algorithm>

namespace connd::daemon {

std::optional<proto::SelfNote> CloneWatch::on_timeout(proto::TimePoint now) {
  if (now < next_) return std::nullopt;
  next_ = now + kInterval;
  return proto::SelfNote{number_, 0};
}

std::optional<proto::SelfNote> CloneWatch::heard(const proto::SelfNote& note, proto::TimePoint now) {
  if (note.number == number_ || note.number == 0) return std::nullopt;
  if (note.seen == number_) seen_ = now;
  while (!answered_.empty() && (now - answered_.front().second >= kAnswerPause || answered_.size() > kMaxAnswered)) {
    answered_.pop_front();
  }
  const bool before = std::any_of(answered_.begin(), answered_.end(),
                                  [&](const auto& answered) { return answered.first == note.number; });
  if (before || answered_.size() >= kMaxAnswered) return std::nullopt;
  answered_.emplace_back(note.number, now);
  return proto::SelfNote{number_, note.number};
}

std::optional<proto::TimePoint> CloneWatch::last_seen(proto::TimePoint now) const {
  return seen_ && now - *seen_ < kForget ? seen_ : std::nullopt;
}

}  // namespace connd::daemon
