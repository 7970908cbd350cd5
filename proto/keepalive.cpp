// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/keepalive.h"

namespace connd::proto {

Keepalive::Due Keepalive::on_timeout(TimePoint now, bool not_read) {
  if (asking()) {
    if (not_read) allow_more_time(now);
    return now >= dead_at_ ? Due::kDead : Due::kNothing;
  }
  if (!answers_pings_ || now - heard_ < interval_) return Due::kNothing;
  ask(now, now + interval_);
  return Due::kPing;
}

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
