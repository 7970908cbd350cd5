// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/going_away.h"

#include <catch2/catch.hpp>

using namespace connd::proto;
using namespace std::chrono_literals;

namespace {
constexpr TimePoint kNow{Duration{1'000'000}};
}

TEST_CASE("GoingAway: each side says it once, and the first one counts") {
  GoingAway leaving;
  CHECK_FALSE(leaving.under_way());
  CHECK(leaving.deadline() == kNever);
  CHECK_FALSE(leaving.finished(true, kNow));
  CHECK(leaving.say(kNow));
  CHECK(leaving.under_way());
  CHECK_FALSE(leaving.say(kNow + 1s));
  CHECK(leaving.hear(kNow + 2s));
  CHECK_FALSE(leaving.hear(kNow + 3s));
  CHECK(leaving.deadline() == kNow + kGoAwayTime);
}

TEST_CASE("GoingAway: it is finished when no channel is left, or when their time is over") {
  GoingAway leaving;
  REQUIRE(leaving.hear(kNow));
  CHECK(leaving.finished(true, kNow));
  CHECK_FALSE(leaving.finished(false, kNow + kGoAwayTime - 1ms));
  leaving.on_timeout(kNow + kGoAwayTime - 1ms);
  CHECK_FALSE(leaving.over());
  CHECK(leaving.finished(false, kNow + kGoAwayTime));
  leaving.on_timeout(kNow + kGoAwayTime);
  CHECK(leaving.over());
  CHECK(leaving.deadline() == kNever);
  CHECK(leaving.finished(false, kNow));
}
