// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connection_channels.h"

#include <string>

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/daemon/connection_parts.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::Reason;

TEST_CASE("ConnectionChannels: each channel's bytes come to its own app, both ways") {
  ConnectionPartsPair pair;
  for (int i = 0; i < 3; ++i) REQUIRE(pair.open_channel() == static_cast<std::size_t>(i));
  CHECK((pair.alice.channels.size() == 3 && pair.bob.channels.size() == 3));
  for (std::size_t i = 0; i < 3; ++i) {
    write_all(pair.alice.fds[i], "to " + std::to_string(i));
    write_all(pair.bob.fds[i], "from " + std::to_string(i));
  }
  std::vector<std::string> there(3), back(3);
  REQUIRE(pair.run([&] {
    for (std::size_t i = 0; i < 3; ++i) {
      there[i] += read_all(pair.bob.fds[i]);
      back[i] += read_all(pair.alice.fds[i]);
    }
    return there[2] == "to 2" && back[0] == "from 0" && there[0].size() * there[1].size() == 16;
  }));
  CHECK((there[0] == "to 0" && there[1] == "to 1" && back[1] == "from 1" && back[2] == "from 2"));
}

TEST_CASE("ConnectionChannels: a channel that ends is told once, here and there, and found no more") {
  ConnectionPartsPair pair;
  const std::size_t index = pair.open_channel();
  const proto::ChannelHandle theirs = pair.bob.asked.at(index);
  CHECK(pair.bob.channels.find(theirs) != nullptr);
  SECTION("by its apps") {
    pair.alice.fds[index].reset();
    pair.bob.fds[index].reset();
    REQUIRE(pair.run([&] { return pair.alice.ends.size() == 1 && pair.bob.ends.size() == 1; }));
    CHECK((pair.alice.ends[0].reason == Reason::kClosed && pair.bob.ends[0].reason == Reason::kClosed));
  }
  SECTION("by a client's word") {
    CHECK(pair.bob.channels.close(theirs, Reason::kCancelled, "enough"));
    CHECK_FALSE(pair.bob.channels.close(theirs, Reason::kCancelled, "enough"));
    REQUIRE(pair.run([&] { return pair.alice.ends.size() == 1; }));
    CHECK((pair.bob.ends.at(0).reason == Reason::kCancelled));
    CHECK((pair.alice.ends[0].reason == Reason::kReset && pair.alice.ends[0].text == "enough"));
  }
  CHECK(pair.bob.channels.find(theirs) == nullptr);
  CHECK_FALSE(pair.bob.channels.finish(theirs));
  CHECK((pair.alice.channels.size() == 0 && pair.bob.channels.size() == 0));
  REQUIRE(pair.run([&] { return pair.alice.mux->channel_count() + pair.bob.mux->channel_count() == 0; }));
}

TEST_CASE("ConnectionChannels: what comes for a channel that nobody has attached resets it") {
  ConnectionPartsPair pair;
  pair.bob.takes = false;
  (void)pair.alice.open("x");
  REQUIRE(pair.run([&] { return pair.bob.asked.size() == 1; }));
  REQUIRE(pair.bob.mux->accept(pair.bob.asked[0], pair.world.loop.now()));
  REQUIRE(pair.run([&] { return pair.alice.fds.size() == 1; }));
  write_all(pair.alice.fds[0], "hello?");
  REQUIRE(pair.run([&] { return pair.alice.ends.size() == 1; }));
  CHECK((pair.alice.ends[0].reason == Reason::kInternal));
}

TEST_CASE("ConnectionChannels: nothing is accepted on a connection that ends, and its channels end some at a time") {
  ConnectionPartsPair pair;
  for (int i = 0; i < 40; ++i) pair.open_channel();
  pair.bob.takes = false;
  (void)pair.alice.open("late");
  REQUIRE(pair.run([&] { return pair.bob.asked.size() == 41; }));
  REQUIRE(pair.bob.life.end(Reason::kClosed, "over", {}));
  CHECK(pair.bob.channels.accept(pair.bob.asked[40], {}).error() == proto::Errc::kGoingAway);
  pair.bob.channels.begin_end();
  CHECK(pair.bob.channels.size() == 0);
  CHECK(pair.bob.channels.end_some());
  CHECK(pair.bob.ends.size() == 32);
  CHECK_FALSE(pair.bob.channels.all_ended());
  CHECK_FALSE(pair.bob.channels.end_some());
  CHECK(pair.bob.channels.all_ended());
  REQUIRE(pair.bob.ends.size() == 40);
  CHECK((pair.bob.ends[39].reason == Reason::kConnectionLost && pair.bob.ends[39].text == "over"));
}
