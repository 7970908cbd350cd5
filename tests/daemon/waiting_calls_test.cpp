// SPDX-License-Identifier: GPL-3.0-or-later
// Calls that come before the daemon has what they need.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/daemon/api_pair.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

TEST_CASE("fault E2: an open that comes before the network is there waits for it") {
  ApiWorld world;
  ApiNode::Options not_yet;
  not_yet.manager = false;
  ApiNode alice(world, 0, not_yet);
  ApiNode bob(world, 1);
  bob.allow(alice);
  ApiClient receiver(world, bob);
  receiver.listen("a");
  ApiClient sender(world, alice);
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  const auto keep = [&](auto channel) { results.push_back(std::move(channel)); };
  sender->connect_device(bob.id.hex(), "a", keep, {.timeout_s = 20});
  // One whose time is over first hears so, and why.
  sender->connect_device(bob.id.hex(), "a", keep, {.timeout_s = 0.05});
  REQUIRE(world.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].error().reason == Reason::kNotReady);
  alice.start_manager();
  REQUIRE(world.run_until([&] { return results.size() == 2 && receiver.opened.size() == 1; }));
  CHECK(results[1].ok());
}

TEST_CASE("fault E2: what waits for the start may be taken back, goes with its client, and is bounded") {
  ApiWorld world;
  ApiNode::Options not_yet;
  not_yet.manager = false;
  ApiNode alice(world, 0, not_yet);
  const std::string peer(64, 'a');
  RawClient raw(world, alice.path());
  raw.write(ipc::request_line("mine", "channel.open", {{"peer", peer}, {"uri", "a"}}) + "\n");
  ApiClient other(world, alice);
  CHECK(other.reason_of("channel.cancel", {{"id", "mine"}}) == Reason::kNotFound);
  raw.write(ipc::request_line(2, "channel.cancel", {{"id", "mine"}}) + "\n");
  const Json first = raw.line();
  CHECK(first["id"] == "mine");
  CHECK(first["error"]["data"]["reason"] == "cancelled");
  CHECK(raw.line()["id"] == 2);
  {
    RawClient leaves(world, alice.path());
    leaves.write(ipc::request_line(1, "channel.open", {{"peer", peer}, {"uri", "a"}}) + "\n");
    CHECK(other.reason_of("channel.cancel", {{"id", 1}}) == Reason::kNotFound);  // it was read by then
  }
  std::string many;
  for (std::size_t i = 0; i <= ipc::kMaxRequestsInFlight; ++i) {
    many += ipc::request_line(static_cast<int>(i), "channel.open", {{"peer", peer}, {"uri", "a"}}) + "\n";
  }
  raw.write(many);
  const Json refused = raw.line();
  CHECK(refused["id"] == ipc::kMaxRequestsInFlight);
  CHECK(refused["error"]["data"]["reason"] == "resource-limit");
  // Those that are left end with the daemon.
  bool over = false;
  alice.server->shut_down([&] { over = true; });
  for (std::size_t i = 0; i < ipc::kMaxRequestsInFlight; ++i) {
    CHECK(raw.line()["error"]["data"]["reason"] == "shutting-down");
  }
}

TEST_CASE("fault C1: thousands of calls that have waited for the start are worked for over many turns") {
  ApiWorld world;
  ApiNode::Options not_yet;
  not_yet.manager = false;
  ApiNode alice(world, 0, not_yet);
  ApiNode bob(world, 1);
  RawClient raw(world, alice.path());
  constexpr std::size_t kMany = 1'000;
  std::string many;
  for (std::size_t i = 0; i < kMany; ++i) {
    many += ipc::request_line(static_cast<int>(i), "channel.open", {{"peer", bob.id.hex()}, {"uri", "a"}}) + "\n";
  }
  raw.write(many + ipc::request_line("last", "alias.list", Json::object()) + "\n");
  CHECK(raw.line()["id"] == "last");
  alice.start_manager();
  std::size_t most = 0;
  std::size_t before = 0;
  REQUIRE(world.run_until([&] {
    const std::size_t now = alice.manager->pending_opens();
    most = std::max(most, now - std::min(now, before));
    before = now;
    return now == kMany;
  }));
  CHECK(most <= 32);
}
