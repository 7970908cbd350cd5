// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/good_bye.h"

#include <string>

#include <catch2/catch.hpp>

#include "tests/daemon/connection_parts.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::Reason;

namespace {

/// Begins Alice's.
void end(ConnectionPartsPair& pair, bool drains) {
  if (drains) pair.alice.life.drain();
  REQUIRE(pair.alice.life.end(Reason::kShuttingDown, "good-bye", {}));
  pair.alice.good_bye.begin(pair.alice.mux.get(), pair.world.loop.now());
}

}  // namespace

TEST_CASE("GoodBye: where nothing is queued and no channel open it is done at once") {
  ConnectionPartsPair pair;
  end(pair, GENERATE(false, true));
  CHECK(pair.alice.good_bye.done());
}

TEST_CASE("GoodBye: one that does not drain waits for nobody, and ends the channels") {
  ConnectionPartsPair pair;
  pair.open_channel();
  end(pair, false);
  CHECK(pair.alice.good_bye.done());
  REQUIRE(pair.alice.ends.size() == 1);
  CHECK((pair.alice.ends[0].reason == Reason::kShuttingDown));
}

TEST_CASE("GoodBye: what is queued goes first, and the peer's end is awaited, up to the deadline") {
  MemoryWire::Options options;
  options.room = 1'000;
  options.delay = std::chrono::milliseconds(1);
  ConnectionPartsPair pair(options);
  const std::size_t index = pair.open_channel();
  const std::string words(20'000, 'w');
  write_all(pair.alice.fds[index], words);
  REQUIRE(pair.run([&] { return pair.alice.link.unsent() > 0; }));
  const proto::TimePoint begun = pair.world.loop.now();
  end(pair, true);
  CHECK_FALSE(pair.alice.good_bye.done());
  CHECK(pair.alice.good_bye.deadline() == begun + GoodBye::kDrainTime);
  SECTION("all of it") {
    std::string received;
    REQUIRE(pair.run([&] {
      received += read_all(pair.bob.fds[index]);
      (void)pair.alice.good_bye.step();
      return pair.wire->asked(0).output_ended;
    }));
    REQUIRE(pair.run([&] {
      received += read_all(pair.bob.fds[index]);
      return pair.bob.link.peer_closed();
    }));
    // The app had written more than its turn took: that is lost, and what was taken is not.
    CHECK(words.starts_with(received));
    CHECK(received.size() >= 1'000);
    // Bob ends too: that is what was awaited.
    REQUIRE(pair.bob.life.end(Reason::kShuttingDown, {}, {}));
    pair.bob.good_bye.begin(pair.bob.mux.get(), pair.world.loop.now());
    REQUIRE(pair.run([&] {
      (void)pair.bob.good_bye.step();
      (void)pair.alice.good_bye.step();
      return pair.alice.good_bye.done();
    }));
  }
  SECTION("what its time allows") {
    pair.alice.good_bye.time_is_over();
    CHECK(pair.alice.good_bye.done());
  }
}

TEST_CASE("GoodBye: with many channels it is done when all have ended") {
  ConnectionPartsPair pair;
  for (int i = 0; i < 70; ++i) pair.open_channel();
  end(pair, false);
  CHECK_FALSE(pair.alice.good_bye.done());
  CHECK(pair.alice.good_bye.step());
  CHECK_FALSE(pair.alice.good_bye.done());
  CHECK_FALSE(pair.alice.good_bye.step());
  CHECK(pair.alice.good_bye.done());
  CHECK(pair.alice.ends.size() == 70);
}
