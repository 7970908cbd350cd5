// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/keepalive.h"

#include <catch2/catch.hpp>

using namespace connd::proto;
using namespace std::chrono_literals;
using Due = Keepalive::Due;

namespace {
constexpr TimePoint kStart{100s};
}

TEST_CASE("Keepalive: a ping after the interval, dead after as long again, unless anything comes") {
  Keepalive alive(30s, true, kStart);
  CHECK(alive.deadline() == kStart + 30s);
  CHECK((alive.on_timeout(kStart + 29s, false) == Due::kNothing));
  CHECK((alive.on_timeout(kStart + 30s, false) == Due::kPing));
  CHECK(alive.number() == 1);
  CHECK(alive.deadline() == kStart + 60s);
  SECTION("nothing comes") {
    CHECK((alive.on_timeout(kStart + 59s, false) == Due::kNothing));
    CHECK(alive.answer_due(kStart + 60s));
    CHECK((alive.on_timeout(kStart + 60s, false) == Due::kDead));
  }
  SECTION("something comes") {
    alive.heard(kStart + 59s);
    CHECK_FALSE(alive.asking());
    CHECK(alive.deadline() == kStart + 89s);
    CHECK((alive.on_timeout(kStart + 60s, false) == Due::kNothing));
  }
  SECTION("its answer may lie unread") {
    CHECK((alive.on_timeout(kStart + 60s, true) == Due::kNothing));
    CHECK(alive.deadline() == kStart + 60s + kProbeTime);
  }
}

TEST_CASE("Keepalive: a probe asks at once, shortens what is under way, and asks once") {
  Keepalive alive(30s, true, kStart);
  CHECK(alive.probe(kStart + 1s));
  CHECK(alive.deadline() == kStart + 1s + kProbeTime);
  CHECK_FALSE(alive.probe(kStart + 2s));
  CHECK(alive.deadline() == kStart + 1s + kProbeTime);
  alive.heard(kStart + 3s);
  CHECK((alive.on_timeout(kStart + 33s, false) == Due::kPing));
  CHECK_FALSE(alive.probe(kStart + 34s));
  CHECK(alive.deadline() == kStart + 34s + kProbeTime);
}

TEST_CASE("Keepalive: who answers no pings is not asked, and never dead") {
  Keepalive alive(30s, false, kStart);
  CHECK(alive.deadline() == kNever);
  CHECK((alive.on_timeout(kStart + 1h, false) == Due::kNothing));
  CHECK_FALSE(alive.probe(kStart + 1h));
  alive.set_answers_pings(true);
  CHECK((alive.on_timeout(kStart + 1h, false) == Due::kPing));
}

TEST_CASE("Keepalive: the round trip is that of the last ping alone") {
  Keepalive alive(30s, true, kStart);
  alive.pong(0, kStart + 1s);
  CHECK_FALSE(alive.round_trip());
  CHECK(alive.probe(kStart + 2s));
  alive.pong(7, kStart + 3s);
  CHECK_FALSE(alive.round_trip());
  alive.pong(1, kStart + 2050ms);
  CHECK((alive.round_trip() == Duration(50)));
}
