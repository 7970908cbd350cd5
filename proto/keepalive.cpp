// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/keepalive.h"

namespace connd::proto {

/// PROTOCOL.md 13: "after 30 s without a byte from the peer, `ping`; after 30 s more without one, of any kind, the
/// connection is dead".
Keepalive::Due Keepalive::on_timeout(TimePoint now, bool not_read) {
  if (asking()) {
    if (not_read) allow_more_time(now);
    return now >= dead_at_ ? Due::kDead : Due::kNothing;
  }
  if (!answers_pings_ || now - heard_ < interval_) return Due::kNothing;
  ask(now, now + interval_);
  return Due::kPing;
}

/// PROTOCOL.md 13: a side that doubts "MAY ping at any time, and take 5 s without a byte for death".
bool Keepalive::probe(TimePoint now) {
  if (!answers_pings_) return false;
  const TimePoint limit = now + probe_time();
  if (asking()) {
    dead_at_ = std::min(dead_at_, limit);
    return false;
  }
  ask(now, limit);
  return true;
}

void Keepalive::ask(TimePoint now, TimePoint dead_at) {
  asked_ = pinged_ = now;
  dead_at_ = dead_at;
  ++number_;
}

}  // namespace connd::proto
