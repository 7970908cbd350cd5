// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/clone_watch.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using namespace std::chrono_literals;
using proto::SelfNote;

namespace {

const proto::TimePoint kStart{1'000'000ms};

}  // namespace

TEST_CASE("fault B4: two daemons of one identity learn of each other, and say no more then") {
  CloneWatch one(1, kStart);
  CloneWatch other(2, kStart);
  CHECK(one.next_deadline() == kStart + CloneWatch::kFirst);
  CHECK_FALSE(one.on_timeout(kStart));
  const auto first = one.on_timeout(kStart + CloneWatch::kFirst);
  REQUIRE(first == SelfNote{1, 0});
  const auto now = kStart + 3s;
  CHECK_FALSE(one.heard(*first, now));  // its own comes back
  const auto answer = other.heard(*first, now);
  REQUIRE(answer == SelfNote{2, 1});
  CHECK_FALSE(other.last_seen(now));  // not proved yet
  const auto back = one.heard(*answer, now);
  CHECK(one.last_seen(now) == now);
  REQUIRE(back == SelfNote{1, 2});
  CHECK_FALSE(other.heard(*back, now));
  CHECK(other.last_seen(now) == now);
  // It stays so from note to note, and ends when the other has ended.
  const auto later = kStart + CloneWatch::kFirst + CloneWatch::kInterval;
  const auto again = one.on_timeout(later);
  REQUIRE(again);
  REQUIRE(other.heard(*again, later) == SelfNote{2, 1});
  CHECK_FALSE(one.last_seen(now + CloneWatch::kForget));
}

TEST_CASE("fault B4: what a former run has left on the DHT is nobody") {
  CloneWatch now_running(3, kStart);
  for (const SelfNote& old : {SelfNote{2, 0}, SelfNote{2, 1}, SelfNote{1, 2}, SelfNote{0, 3}}) {
    (void)now_running.heard(old, kStart);
    CHECK_FALSE(now_running.last_seen(kStart));
  }
}

TEST_CASE("fault B4: notes that are played back are answered seldom") {
  CloneWatch watch(3, kStart);
  int answers = 0;
  for (int round = 0; round < 10; ++round) {
    for (std::uint64_t number = 100; number < 200; ++number) answers += watch.heard({number, 0}, kStart + 1s) ? 1 : 0;
  }
  CHECK(answers == CloneWatch::kMaxAnswered);
  CHECK(watch.heard({500, 0}, kStart + 1s + CloneWatch::kAnswerPause));
}
