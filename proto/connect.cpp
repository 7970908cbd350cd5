// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/connect.h"

#include <algorithm>

namespace connd::proto {
namespace {

using State = ConnectState;
using Event = ConnectEvent;
using Action = ConnectAction;

Reason reason_for(State state) {
  switch (state) {
    case State::kResolving:
      return Reason::kNotFound;
    case State::kOffered:
      return Reason::kNoAnswerOrRefused;
    case State::kGathering:
    case State::kChecking:
      return Reason::kIceFailed;
    case State::kHandshaking:
      return Reason::kTimedOut;
    default:
      return Reason::kInternal;
  }
}

}  // namespace

std::string_view to_string(ConnectState state) {
  static constexpr std::string_view kNames[kConnectStates] = {"idle",     "resolving",   "gathering", "offered",
                                                              "checking", "handshaking", "ready",     "failed"};
  return kNames[static_cast<int>(state)];
}

std::optional<ConnectStep> connect_step(ConnectRole role, ConnectState state, ConnectEvent event) {
  const bool caller = role == ConnectRole::kCaller;
  switch (state) {
    case State::kIdle:
      if (event != Event::kStart) return std::nullopt;
      return caller ? ConnectStep{State::kResolving, Action::kResolve}
                    : ConnectStep{State::kGathering, Action::kGather};
    case State::kResolving:
      if (event == Event::kCertificate) return ConnectStep{State::kGathering, Action::kGather};
      if (event == Event::kNoCertificate) return ConnectStep{State::kResolving, Action::kNone};  // and again, later
      if (event == Event::kRejected) return ConnectStep{State::kFailed, Action::kFail};
      return std::nullopt;
    case State::kGathering:
      if (event == Event::kGathered) {
        return caller ? ConnectStep{State::kOffered, Action::kSendRequest}
                      : ConnectStep{State::kChecking, Action::kSendAnswer};
      }
      if (event == Event::kBroken) return ConnectStep{State::kFailed, Action::kFail};
      return std::nullopt;
    case State::kOffered:
      if (event == Event::kAnswered) return ConnectStep{State::kChecking, Action::kStartChecks};
      // By our front door the peer may be here before its answer is: its check was done there. The same event again
      // goes on.
      if (event == Event::kPath) return ConnectStep{State::kChecking, Action::kNone};
      if (event == Event::kBroken || event == Event::kRejected) return ConnectStep{State::kFailed, Action::kFail};
      return std::nullopt;
    case State::kChecking:
      if (event == Event::kPath) return ConnectStep{State::kHandshaking, Action::kStartTls};
      if (event == Event::kBroken) return ConnectStep{State::kFailed, Action::kFail};
      return std::nullopt;
    case State::kHandshaking:
      if (event == Event::kUp) return ConnectStep{State::kReady, Action::kDeliver};
      if (event == Event::kPath) return ConnectStep{State::kHandshaking, Action::kStartTls};  // one more
      if (event == Event::kBroken || event == Event::kRejected) return ConnectStep{State::kFailed, Action::kFail};
      return std::nullopt;
    case State::kReady:
    case State::kFailed:
      return std::nullopt;
  }
  return std::nullopt;
}

void ConnectMachine::be_patient() {
  times_.check = std::max(times_.check, times_.patient_check);
  times_.handshake = std::max(times_.handshake, times_.patient_handshake);
}

ConnectAction ConnectMachine::on(ConnectEvent event, TimePoint now) {
  if (event == Event::kTimer) return on_timer(now);
  const auto step = connect_step(role_, state_, event);
  if (!step) return Action::kNone;
  if (step->action == Action::kFail) return fail(event == Event::kBroken);
  lookup_at_ = event == Event::kNoCertificate ? now + times_.lookup_pause : kNever;
  if (step->state == state_) return step->action;  // the stage goes on, and so does its time
  return enter(*step, now);
}

ConnectAction ConnectMachine::enter(ConnectStep step, TimePoint now) {
  state_ = step.state;
  const auto time = stage_time();
  stage_deadline_ = time ? now + *time : kNever;
  return step.action;
}

ConnectAction ConnectMachine::fail(bool retry) {
  failure_ = reason_for(state_);
  retry_ = retry;
  state_ = State::kFailed;
  stage_deadline_ = lookup_at_ = kNever;
  return Action::kFail;
}

ConnectAction ConnectMachine::on_timer(TimePoint now) {
  if (state_ == State::kReady || state_ == State::kFailed) return Action::kNone;
  const bool over = now >= attempt_deadline_;
  if (!over && now < stage_deadline_) {
    if (now < lookup_at_) return Action::kNone;
    lookup_at_ = kNever;
    return Action::kResolve;
  }
  if (!over && state_ == State::kOffered) {
    if (soon_ > 0) --soon_;
    stage_deadline_ = now + (soon_ > 0 ? times_.pair_resend : times_.resend);
    return Action::kSendRequest;
  }
  return fail(true);
}

TimePoint ConnectMachine::next_deadline() const {
  if (state_ == State::kReady || state_ == State::kFailed) return kNever;
  return std::min({attempt_deadline_, stage_deadline_, lookup_at_});
}

std::optional<Duration> ConnectMachine::stage_time() const {
  switch (state_) {
    case State::kResolving:
      return times_.resolve;
    case State::kGathering:
      return times_.gather;
    case State::kOffered:
      return soon_ > 0 ? times_.pair_resend : times_.resend;
    case State::kChecking:
      return times_.check;
    case State::kHandshaking:
      return times_.handshake;
    default:
      return std::nullopt;
  }
}

}  // namespace connd::proto
