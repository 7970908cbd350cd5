// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/reachability.h"

#include <algorithm>

namespace connd::daemon {

const char* to_string(Reach reach) {
  switch (reach) {
    case Reach::kUnknown:
      return "unknown";
    case Reach::kYes:
      return "yes";
    case Reach::kNo:
      break;
  }
  return "no";
}

void Reachability::become(Reach state, proto::TimePoint now) {
  if (state == state_) return;
  state_ = state;
  since_ = now;
}

void Reachability::test_at(proto::TimePoint when) {
  // What is due sooner stays so: signs that do not end must not put it off for ever.
  test_at_ = std::min(test_at_, std::max(when, test_begun_ + kTestGap));
}

proto::TimePoint Reachability::wake_at() const {
  if (wake_step_ == kWakeDelays.size()) return proto::kNever;
  return std::max(sign_at_ + kWakeDelays[wake_step_], woken_at_ + kWakeGap);
}

void Reachability::on_sign(proto::TimePoint now) {
  sign_at_ = now;
  wake_step_ = 0;
  failures_ = 0;
  if (connected_) test_at(now + kTestDelay);
}

void Reachability::on_connected(proto::TimePoint now) {
  if (connected_) return;
  connected_ = true;
  alone_at_ = proto::kNever;
  listen_wake_at_ = now + kListenWakeInterval;
  if (state_ == Reach::kNo) become(Reach::kUnknown, now);
  on_sign(now);
}

void Reachability::on_disconnected(proto::TimePoint now) {
  if (!connected_) return;
  connected_ = false;
  alone_at_ = now + kAloneTime;
  test_at_ = test_ends_ = proto::kNever;
  failures_ = 0;
  become(Reach::kNo, now);
}

void Reachability::on_test_passed(proto::TimePoint now) {
  if (!connected_ || renewals_.under_way()) return;
  test_ends_ = proto::kNever;
  failures_ = 0;
  renewals_.on_helped();
  last_passed_ = now;
  become(Reach::kYes, now);
  test_at_ = now + kTestInterval;
  // What was before the last sign proves nothing.
  if (test_begun_ < sign_at_) test_at(sign_at_ + kTestDelay);
}

void Reachability::on_node_made(proto::TimePoint now) {
  renewals_.on_made();
  connected_ = false;
  alone_at_ = proto::kNever;
  test_at_ = test_ends_ = proto::kNever;
  failures_ = 0;
  // It is asked for at once when it is connected; until then the nodes that were known are.
  sign_at_ = now;
  wake_step_ = 0;
  listen_wake_at_ = now + kListenWakeInterval;
}

void Reachability::on_received(std::uint64_t total, proto::TimePoint now) {
  if (silence_.on_count(total, now)) on_sign(now);
}

ReachAction Reachability::renew(proto::TimePoint now) {
  renewals_.begin(now);
  test_at_ = test_ends_ = alone_at_ = proto::kNever;
  wake_step_ = kWakeDelays.size();
  return ReachAction::kRenew;
}

ReachAction Reachability::test_failed(proto::TimePoint now) {
  test_ends_ = proto::kNever;
  ++failures_;
  if (failures_ >= kFailuresToRenew) {
    become(Reach::kNo, now);
    if (renewals_.may_begin(now)) return renew(now);
    test_at(now + kListenWakeInterval);
  } else {
    test_at(now);
  }
  return ReachAction::kWakeAll;
}

ReachAction Reachability::next(proto::TimePoint now) {
  if (renewals_.under_way()) return ReachAction::kNone;
  if (now >= alone_at_) {
    alone_at_ = proto::kNever;
    if (renewals_.may_begin(now)) return renew(now);
  }
  if (now >= wake_at()) {
    woken_at_ = now;
    // Those that were missed are one.
    while (wake_step_ < kWakeDelays.size() && now >= sign_at_ + kWakeDelays[wake_step_]) ++wake_step_;
    full_wake_at_ = now + kFullWakeInterval;
    listen_wake_at_ = now + kListenWakeInterval;
    return ReachAction::kWakeAll;
  }
  if (now >= test_ends_) return test_failed(now);
  if (now >= test_at_) {
    test_at_ = proto::kNever;
    test_begun_ = now;
    test_ends_ = now + kTestTime;
    ++tests_;
    return ReachAction::kTest;
  }
  // Without a node that answers, those that are known are asked as often.
  if (now >= full_wake_at_ || (now >= listen_wake_at_ && !connected_)) {
    full_wake_at_ = now + kFullWakeInterval;
    listen_wake_at_ = now + kListenWakeInterval;
    return ReachAction::kWakeAll;
  }
  if (now >= listen_wake_at_) {
    listen_wake_at_ = now + kListenWakeInterval;
    return ReachAction::kWakeListens;
  }
  return ReachAction::kNone;
}

proto::TimePoint Reachability::next_deadline() const {
  if (renewals_.under_way()) return proto::kNever;
  return std::min({alone_at_, wake_at(), listen_wake_at_, full_wake_at_, test_at_, test_ends_});
}

}  // namespace connd::daemon
