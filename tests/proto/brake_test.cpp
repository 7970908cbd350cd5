// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/brake.h"

#include <catch2/catch.hpp>

using namespace connd::proto;

namespace {
constexpr std::size_t kFull = kMaxHeldPerChannel;
constexpr std::uint64_t kPlenty = 8 * std::uint64_t{kFull};
const TimePoint kStart{Duration{50'000}};
}  // namespace

TEST_CASE("brake: what apps take is no matter") {
  Brake brake(kPlenty);
  for (int i = 0; i < 100; ++i) {
    CHECK(brake.held(1, kFull - 1, kStart) == 0);
    brake.taken(1, kFull - 1);
  }
  CHECK_FALSE(brake.stopped());
  CHECK(brake.deadline() == kNever);
  CHECK(brake.total() == 0);
}

TEST_CASE("brake: D2: a stop of a second and a half, then the channel stalls") {
  Brake brake(kPlenty);
  CHECK(brake.held(1, kFull - 1, kStart) == 0);
  CHECK_FALSE(brake.stopped());
  CHECK(brake.held(1, 1, kStart) == 0);
  CHECK(brake.stopped());
  CHECK(brake.deadline() == kStart + kStopTime);
  CHECK(brake.held(2, 10, kStart) == 0);  // of the same read
  CHECK(brake.expire(kStart + kStopTime - Duration{1}).empty());
  CHECK(brake.stopped());
  CHECK(brake.expire(kStart + kStopTime) == std::vector<ChannelHandle>{1});
  CHECK_FALSE(brake.stopped());
  brake.forget(1);
  CHECK(brake.total() == 10);
}

TEST_CASE("brake: an app that takes half in time ends the stop; one that takes some is spared at its end") {
  Brake brake(kPlenty);
  CHECK(brake.held(1, kFull, kStart) == 0);
  brake.taken(1, 1);
  CHECK(brake.stopped());  // not at the first byte
  SECTION("half") {
    brake.taken(1, kFull / 2);
    CHECK_FALSE(brake.stopped());
  }
  SECTION("some") {
    CHECK(brake.expire(kStart + kStopTime).empty());
    CHECK_FALSE(brake.stopped());
  }
}

TEST_CASE("brake: one stop in ten seconds; the next channel in between ends at once") {
  Brake brake(kPlenty);
  CHECK(brake.held(1, kFull, kStart) == 0);
  brake.taken(1, kFull);
  CHECK_FALSE(brake.stopped());
  CHECK(brake.held(2, kFull, kStart + kStopInterval - Duration{1}) == 2);
  CHECK_FALSE(brake.stopped());
  brake.forget(2);
  CHECK(brake.held(3, kFull, kStart + kStopInterval) == 0);
  CHECK(brake.stopped());
}

TEST_CASE("brake: all channels together are bounded too: who holds the most goes") {
  Brake brake(kFull);
  CHECK(brake.held(1, kFull / 4, kStart) == 0);
  CHECK(brake.held(2, kFull / 2, kStart) == 0);
  CHECK(brake.held(3, kFull / 4, kStart) == 0);
  CHECK(brake.stopped());
  CHECK(brake.expire(kStart + kStopTime) == std::vector<ChannelHandle>{2});
  CHECK(brake.held(3, 1, kStart + kStopTime) == 2);
}

TEST_CASE("brake: a channel that goes ends the stop that it has caused") {
  Brake brake(kPlenty);
  CHECK(brake.held(1, kFull, kStart) == 0);
  brake.forget(1);
  CHECK_FALSE(brake.stopped());
  CHECK(brake.total() == 0);
}

TEST_CASE("brake: what a channel holds that has ended on the wire counts for all of them, and no more for itself") {
  Brake brake(kPlenty);
  CHECK(brake.held(1, kFull, kStart) == 0);
  CHECK(brake.held(2, kFull / 2, kStart) == 0);
  CHECK(brake.stopped());
  brake.ended(1);
  CHECK(brake.total() == kFull + kFull / 2);
  SECTION("the stop ends when another one eases it") {
    brake.taken(2, 1);
    CHECK_FALSE(brake.stopped());
  }
  SECTION("at the end of its time there is nobody to go") {
    CHECK(brake.expire(kStart + kStopTime).empty());
    CHECK(brake.held(2, 1, kStart + kStopTime) == 0);
  }
  SECTION("it goes when all together hold too much") {
    CHECK(brake.expire(kStart + kStopTime).empty());
    ChannelHandle gone = 0;
    for (ChannelHandle next = 3; gone == 0 && next < 30; ++next) {
      gone = brake.held(next, kFull - 1, kStart + kStopTime);
    }
    CHECK(gone == 1);
    CHECK(brake.total() < kPlenty + kFull);
  }
  brake.forget(1);
  brake.ended(1);  // nothing is held for it
  CHECK(brake.expire(kStart + 2 * kStopTime).empty());
}
