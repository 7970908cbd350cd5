// SPDX-License-Identifier: GPL-3.0-or-later
/// CloneWatch: whether another daemon runs with this device's identity: a state directory that was copied, a backup
/// that was restored beside the original. The two answer peers in turn, and neither sees why.
///
/// Each daemon has a number of its own for as long as it runs, and tells it to the device's own requests key, sealed
/// and signed as every request. Who hears of another number answers with it. An answer that has our number can only
/// come from one who holds the key and runs now: what a former run of ours has left on the DHT knows nothing of it.
///
/// No I/O, no clock: notes and times go in, notes to send come out.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "proto/signal.h"
#include "proto/time.h"

namespace connd::daemon {

class CloneWatch {
 public:
  /// Soon after the start, when both may have just begun, and then seldom: each costs a put, and a private operation.
  static constexpr proto::Duration kFirst = std::chrono::seconds(2);
  static constexpr proto::Duration kInterval = std::chrono::minutes(15);
  /// Not heard of for so long, it is there no more: two of its notes may be lost.
  static constexpr proto::Duration kForget = std::chrono::minutes(50);
  /// Numbers that were answered, and not again before this: whoever plays back old notes gets no more for it.
  static constexpr std::size_t kMaxAnswered = 16;
  static constexpr proto::Duration kAnswerPause = std::chrono::minutes(10);

  /// `number`: random, not 0.
  CloneWatch(std::uint64_t number, proto::TimePoint now) : number_(number), next_(now + kFirst) {}

  /// At next_deadline(): what to tell.
  std::optional<proto::SelfNote> on_timeout(proto::TimePoint now);
  [[nodiscard]] proto::TimePoint next_deadline() const { return next_; }
  /// A note that our own key has signed; what to answer, if anything.
  std::optional<proto::SelfNote> heard(const proto::SelfNote& note, proto::TimePoint now);

  /// When another one was heard of last, if it is there.
  [[nodiscard]] std::optional<proto::TimePoint> last_seen(proto::TimePoint now) const;

 private:
  const std::uint64_t number_;
  proto::TimePoint next_;
  std::optional<proto::TimePoint> seen_;
  std::deque<std::pair<std::uint64_t, proto::TimePoint>> answered_;  ///< oldest first
};

}  // namespace connd::daemon
