// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/connect.h"

#include <map>
#include <tuple>

#include <catch2/catch.hpp>

using namespace connd::proto;
using S = ConnectState;
using E = ConnectEvent;
using A = ConnectAction;
using R = ConnectRole;
using namespace std::chrono_literals;

TEST_CASE("the whole table: (role, state, event) -> (state, action); all else means nothing") {
  const std::map<std::tuple<R, S, E>, std::pair<S, A>> table = {
      {{R::kCaller, S::kIdle, E::kStart}, {S::kResolving, A::kResolve}},
      {{R::kCaller, S::kResolving, E::kCertificate}, {S::kGathering, A::kGather}},
      {{R::kCaller, S::kResolving, E::kNoCertificate}, {S::kResolving, A::kNone}},
      {{R::kCaller, S::kResolving, E::kRejected}, {S::kFailed, A::kFail}},
      {{R::kCaller, S::kGathering, E::kGathered}, {S::kOffered, A::kSendRequest}},
      {{R::kCaller, S::kGathering, E::kBroken}, {S::kFailed, A::kFail}},
      {{R::kCaller, S::kOffered, E::kPath}, {S::kChecking, A::kNone}},
      {{R::kCaller, S::kHandshaking, E::kPath}, {S::kHandshaking, A::kStartTls}},
      {{R::kCallee, S::kHandshaking, E::kPath}, {S::kHandshaking, A::kStartTls}},
      {{R::kCaller, S::kOffered, E::kAnswered}, {S::kChecking, A::kStartChecks}},
      {{R::kCaller, S::kOffered, E::kBroken}, {S::kFailed, A::kFail}},
      {{R::kCaller, S::kOffered, E::kRejected}, {S::kFailed, A::kFail}},
      {{R::kCaller, S::kChecking, E::kPath}, {S::kHandshaking, A::kStartTls}},
      {{R::kCaller, S::kChecking, E::kBroken}, {S::kFailed, A::kFail}},
      {{R::kCaller, S::kHandshaking, E::kUp}, {S::kReady, A::kDeliver}},
      {{R::kCaller, S::kHandshaking, E::kBroken}, {S::kFailed, A::kFail}},
      {{R::kCaller, S::kHandshaking, E::kRejected}, {S::kFailed, A::kFail}},
      {{R::kCallee, S::kIdle, E::kStart}, {S::kGathering, A::kGather}},
      {{R::kCallee, S::kGathering, E::kGathered}, {S::kChecking, A::kSendAnswer}},
      {{R::kCallee, S::kGathering, E::kBroken}, {S::kFailed, A::kFail}},
      {{R::kCallee, S::kChecking, E::kPath}, {S::kHandshaking, A::kStartTls}},
      {{R::kCallee, S::kChecking, E::kBroken}, {S::kFailed, A::kFail}},
      {{R::kCallee, S::kHandshaking, E::kUp}, {S::kReady, A::kDeliver}},
      {{R::kCallee, S::kHandshaking, E::kBroken}, {S::kFailed, A::kFail}},
      {{R::kCallee, S::kHandshaking, E::kRejected}, {S::kFailed, A::kFail}},
  };
  // States that a callee never is in are reached by nothing; their rows are the caller's.
  for (const R role : {R::kCaller, R::kCallee}) {
    for (int s = 0; s < kConnectStates; ++s) {
      for (int e = 0; e < kConnectEvents; ++e) {
        const auto state = static_cast<S>(s);
        const bool callers_own = state == S::kResolving || state == S::kOffered;
        if (role == R::kCallee && callers_own) continue;
        INFO(to_string(state) << " event " << e);
        const auto step = connect_step(role, state, static_cast<E>(e));
        const auto row = table.find({role, state, static_cast<E>(e)});
        REQUIRE(step.has_value() == (row != table.end()));
        if (!step) continue;
        CHECK((step->state == row->second.first));
        CHECK((step->action == row->second.second));
      }
    }
  }
}

TEST_CASE("a Jami peer has more time for checks and handshake") {
  const TimePoint now{Duration{1'000'000}};
  const ConnectTimes times;
  ConnectMachine machine(R::kCallee, times, now);
  machine.be_patient();
  CHECK(machine.on(E::kStart, now) == A::kGather);
  CHECK(machine.on(E::kGathered, now) == A::kSendAnswer);
  CHECK(machine.next_deadline() == now + times.patient_check);
  CHECK(machine.on(E::kPath, now) == A::kStartTls);
  CHECK(machine.next_deadline() == now + times.patient_handshake);
  CHECK(times.patient_handshake >= 15s);
}

TEST_CASE("each stage fails with its own reason when its time is over") {
  const TimePoint start{Duration{1}};
  struct Row {
    std::vector<E> way;
    Reason reason;
    bool retry;
  };
  const std::vector<Row> rows = {
      {{E::kStart}, Reason::kNotFound, true},
      {{E::kStart, E::kCertificate}, Reason::kIceFailed, true},
      {{E::kStart, E::kCertificate, E::kGathered, E::kAnswered}, Reason::kIceFailed, true},
      {{E::kStart, E::kCertificate, E::kGathered, E::kAnswered, E::kPath}, Reason::kTimedOut, true},
  };
  for (const Row& row : rows) {
    ConnectMachine machine(R::kCaller, {}, start);
    for (const E event : row.way) machine.on(event, start);
    const TimePoint deadline = machine.next_deadline();
    CHECK((machine.on(E::kTimer, deadline - 1ms) == A::kNone));
    CHECK((machine.on(E::kTimer, deadline) == A::kFail));
    CHECK((machine.failure() == row.reason));
    CHECK(machine.worth_retrying() == row.retry);
    CHECK(machine.next_deadline() == kNever);
  }
}

TEST_CASE("fault E1: a lookup that finds nothing is repeated until the attempt's time is over; then: not found") {
  const TimePoint start{Duration{1}};
  const ConnectTimes times;
  ConnectMachine machine(R::kCaller, times, start);
  CHECK((machine.on(E::kStart, start) == A::kResolve));
  // While one is under way there is nothing to do but to wait.
  CHECK(machine.next_deadline() == start + times.total);
  TimePoint now = start + 100ms;
  int lookups = 0;
  for (;;) {
    CHECK((machine.on(E::kNoCertificate, now) == A::kNone));
    CHECK((machine.state() == S::kResolving));
    if (now + times.lookup_pause >= start + times.total) break;
    CHECK(machine.next_deadline() == now + times.lookup_pause);
    CHECK((machine.on(E::kTimer, now + times.lookup_pause - 1ms) == A::kNone));
    now += times.lookup_pause;
    CHECK((machine.on(E::kTimer, now) == A::kResolve));
    CHECK((machine.on(E::kTimer, now) == A::kNone));
    ++lookups;
    now += 1s;
  }
  CHECK(lookups == 20);
  CHECK((machine.on(E::kTimer, start + times.total) == A::kFail));
  CHECK((machine.failure() == Reason::kNotFound));
  CHECK(machine.worth_retrying());  // who waits longer than an attempt takes goes on looking

  ConnectMachine lucky(R::kCaller, times, start);
  lucky.on(E::kStart, start);
  lucky.on(E::kNoCertificate, start);
  lucky.on(E::kTimer, start + times.lookup_pause);
  CHECK((lucky.on(E::kCertificate, start + 1s) == A::kGather));
  CHECK(lucky.next_deadline() == start + 1s + times.gather);
}

TEST_CASE("a request is put again until the attempt's time is over; then: no answer") {
  const TimePoint start{Duration{1}};
  ConnectMachine machine(R::kCaller, {}, start);
  for (const E event : {E::kStart, E::kCertificate, E::kGathered}) machine.on(event, start);
  int sent = 0;
  A action = A::kNone;
  while (action != A::kFail) {
    const TimePoint now = machine.next_deadline();
    REQUIRE(now <= start + 30s);
    action = machine.on(E::kTimer, now);
    sent += action == A::kSendRequest ? 1 : 0;
  }
  CHECK(sent == 9);
  CHECK((machine.failure() == Reason::kNoAnswerOrRefused));
  CHECK(machine.worth_retrying());
}

TEST_CASE("fault A5: a request that went by pair keys alone is followed soon, three times, then as others are") {
  const TimePoint start{};
  ConnectTimes times;
  ConnectMachine machine(R::kCaller, times, start);
  machine.ask_by_pair_first();
  CHECK((machine.on(E::kStart, start) == A::kResolve));
  CHECK((machine.on(E::kCertificate, start) == A::kGather));
  CHECK((machine.on(E::kGathered, start) == A::kSendRequest));
  TimePoint now = start;
  for (const Duration wait : {times.pair_resend, times.pair_resend, times.pair_resend, times.resend, times.resend}) {
    CHECK(machine.next_deadline() == now + wait);
    CHECK((machine.on(E::kTimer, now + wait - 1ms) == A::kNone));
    now += wait;
    CHECK((machine.on(E::kTimer, now) == A::kSendRequest));
  }
}
