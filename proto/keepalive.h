// SPDX-License-Identifier: GPL-3.0-or-later
/// Keepalive: whether the peer is alive (PROTOCOL.md, section 13). It says when a ping is due and when its answer is;
/// anything that comes of the peer is an answer. Sans-IO: time comes in, what to do goes out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "proto/limits.h"
#include "proto/time.h"

namespace connd::proto {

class Keepalive {
 public:
  enum class Due : std::uint8_t { kNothing, kPing, kDead };

  /// A ping after `interval` without a byte; the peer is dead when it has not answered for as long again.
  Keepalive(Duration interval, bool answers_pings, TimePoint now)
      : interval_(interval), answers_pings_(answers_pings), heard_(now) {}

  /// Something has come of the peer, be it part of a TLS record.
  void heard(TimePoint now) {
    heard_ = now;
    asked_ = kNever;
  }
  /// A peer that does not answer pings is not asked, and never dead.
  void set_answers_pings(bool answers) { answers_pings_ = answers; }

  [[nodiscard]] TimePoint deadline() const {
    if (!answers_pings_) return kNever;
    return asking() ? dead_at_ : heard_ + interval_;
  }
  /// kPing: send one, with number(). kDead: it has had its time. `not_read`: its answer may lie unread.
  Due on_timeout(TimePoint now, bool not_read);
  /// Asks now: without a byte within kProbeTime the peer is dead. True: send a ping, with number().
  bool probe(TimePoint now);
  /// What was sent to the peer is still arriving there, so that the ping behind it may have yet to: kProbeTime more.
  void allow_more_time(TimePoint now) {
    if (answer_due(now)) dead_at_ = now + probe_time();
  }
  /// The answer to the ping of this number.
  void pong(std::uint64_t number, TimePoint now) {
    if (number == number_ && number_ != 0) round_trip_ = now - pinged_;
  }

  /// A ping is out, and nothing has come since.
  [[nodiscard]] bool asking() const { return asked_ != kNever; }
  [[nodiscard]] bool answer_due(TimePoint now) const { return asking() && now >= dead_at_; }
  /// Nothing has come for so long that who wants something of the peer had better probe it, too.
  [[nodiscard]] bool doubtful(TimePoint now) const { return now - heard_ >= kProbeTime; }
  /// Of the last ping; 0: there was none.
  [[nodiscard]] std::uint64_t number() const { return number_; }
  /// From ping to pong, the last one measured.
  [[nodiscard]] std::optional<Duration> round_trip() const { return round_trip_; }

 private:
  [[nodiscard]] Duration probe_time() const { return std::min(kProbeTime, interval_); }
  void ask(TimePoint now, TimePoint dead_at);

  const Duration interval_;
  bool answers_pings_;
  TimePoint heard_;
  std::uint64_t number_ = 0;
  TimePoint pinged_{};
  TimePoint asked_ = kNever;    ///< kNever: no ping that nothing has followed
  TimePoint dead_at_ = kNever;  ///< while such a ping is out
  std::optional<Duration> round_trip_;
};

}  // namespace connd::proto
