// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection/connection_manager.h: what comes for thousands of channels at once is done over many turns of the
// loop, so that what other channels carry goes on.
#include <algorithm>

#include <catch2/catch.hpp>

#include "daemon/connection/connection_manager.h"
#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

constexpr std::size_t kMany = 2'000;

/// Runs the loop until `count()` is `wanted`, and gives the most that it grew by in one turn.
template <class Count>
std::size_t most_in_a_turn(World& world, std::size_t wanted, const Count& count) {
  std::size_t most = 0;
  std::size_t before = count();
  REQUIRE(world.run_until([&] {
    const std::size_t now = count();
    most = std::max(most, now - before);
    before = now;
    return now == wanted;
  }));
  return most;
}

}  // namespace

TEST_CASE("fault C1: thousands of opens whose connection breaks go on, or fail, over many turns") {
  std::vector<OpenResult> results;
  Two two;
  auto warm = two.alice.open(two.bob, "warm");
  opened(warm);
  two.bob.accept = false;
  for (std::size_t i = 0; i < kMany; ++i) two.alice.open_later(two.bob, "x", results);
  REQUIRE(two.world.run_until([&] { return two.bob.requests.size() == kMany; }));
  // The peer takes no connection any more.
  two.bob.ban(two.alice);
  CHECK(most_in_a_turn(two.world, kMany, [&] { return results.size(); }) <= 64);
  CHECK(two.alice.manager->pending_opens() == 0);
}

TEST_CASE("fault C1: hundreds of channels whose connection breaks end over many turns, each of them, once") {
  constexpr std::size_t kChannels = 200;  // both ends of all are in this process: they fit under 1,024
  std::vector<OpenResult> results;
  Two two;
  for (std::size_t i = 0; i < kChannels; ++i) two.alice.open_later(two.bob, "x", results);
  REQUIRE(two.world.run_until([&] { return results.size() == kChannels; }));
  two.alice.manager->close_connections(two.bob.id, Reason::kConnectionLost, "cut by the test");
  CHECK(most_in_a_turn(two.world, kChannels, [&] { return two.alice.ended.size(); }) <= 64);
  REQUIRE(two.world.run_until([&] { return two.bob.ended.size() == kChannels; }));
  for (const ChannelEnd& end : two.alice.ended) REQUIRE((end.reason == Reason::kConnectionLost));
  CHECK(two.alice.manager->channels().size() == 0);
  CHECK(two.alice.events("connection.closed") == 1);
}
