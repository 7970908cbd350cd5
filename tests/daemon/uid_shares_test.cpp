// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/uid_shares.h"

#include <map>

#include <catch2/catch.hpp>

using namespace connd::daemon;
using namespace std::chrono_literals;

namespace {

constexpr uid_t kRich = 1, kBusy = 2, kOther = 3;

/// Turns at which each piece of work costs what its user's do.
struct World {
  UidShares shares;
  UidShares::Instant now{};
  std::map<uid_t, UidShares::Time> cost;
  std::map<uid_t, UidShares::Time> spent;
  std::map<ClientNumber, int> served;

  UidShares::Turn turn() {
    const auto turn = shares.next();
    REQUIRE(turn);
    shares.charge(turn->uid, cost[turn->uid], now);
    now += cost[turn->uid];
    spent[turn->uid] += cost[turn->uid];
    ++served[turn->client];
    return *turn;
  }
};

}  // namespace

TEST_CASE("fault C1: time is shared out by user, however many clients one has, and whatever a piece of work costs") {
  World world;
  world.cost = {{kRich, 57ms}, {kBusy, 40us}, {kOther, 300us}};
  for (ClientNumber client = 1; client <= 200; ++client) world.shares.want(kRich, client, world.now);
  world.shares.want(kBusy, 1'000, world.now);
  world.shares.want(kOther, 1'001, world.now);
  while (world.now < UidShares::Instant{} + 6s) world.turn();
  for (const uid_t uid : {kRich, kBusy, kOther}) {
    INFO(uid);
    CHECK(world.spent[uid] > 1'900ms);
    CHECK(world.spent[uid] < 2'100ms);
  }
  CHECK(world.shares.account(kRich).held_back > 0);
  CHECK(world.shares.total().spent == world.spent[kRich] + world.spent[kBusy] + world.spent[kOther]);
}

TEST_CASE("fault C1: who comes waits for the piece of work under way, and a share of each other's") {
  World world;
  world.cost = {{kRich, 100us}, {kBusy, 100us}, {kOther, 100us}};
  for (ClientNumber client = 1; client <= 200; ++client) world.shares.want(kRich, client, world.now);
  for (ClientNumber client = 201; client <= 400; ++client) world.shares.want(kBusy, client, world.now);
  for (int i = 0; i < 1'000; ++i) world.turn();
  world.shares.want(kOther, 1'000, world.now);
  const auto came = world.now;
  while (world.turn().uid != kOther) {
  }
  CHECK(world.now - came <= 2 * (UidShares::kQuantum + 100us) * 2 + 100us);
}

TEST_CASE("the clients of one user take turns") {
  World world;
  world.cost = {{kRich, 100us}};
  for (ClientNumber client = 1; client <= 5; ++client) world.shares.want(kRich, client, world.now);
  for (int i = 0; i < 50; ++i) world.turn();
  for (ClientNumber client = 1; client <= 5; ++client) CHECK(world.served[client] == 10);
}

TEST_CASE("with nobody else there nothing is held back") {
  World world;
  world.cost = {{kRich, 80ms}};
  world.shares.want(kRich, 1, world.now);
  for (int i = 0; i < 10; ++i) CHECK(world.turn() == UidShares::Turn{kRich, 1});
  CHECK(world.shares.account(kRich).held_back == 0);
  world.shares.leave(kRich, 1, world.now);
  CHECK(world.shares.empty());
  CHECK_FALSE(world.shares.next());
}

TEST_CASE("fault C1: a debt stays when its clients go, and is forgotten in as much time") {
  World world;
  world.cost = {{kRich, 50ms}, {kBusy, 1ms}};
  world.shares.want(kBusy, 2, world.now);
  world.shares.want(kRich, 1, world.now);
  while (world.turn().uid != kRich) {
  }
  world.shares.leave(kRich, 1, world.now);
  world.shares.want(kRich, 3, world.now);  // comes anew
  for (int i = 0; i < 40; ++i) CHECK(world.turn().uid == kBusy);
  world.shares.leave(kRich, 3, world.now);
  world.now += 50ms;
  world.shares.want(kRich, 4, world.now);
  int before = 0;
  while (world.turn().uid != kRich) ++before;
  CHECK(before <= 2);
}

TEST_CASE("fault C1: what is done for a user outside of its turns is paid for, too") {
  World world;
  world.cost = {{kRich, 100us}, {kBusy, 100us}};
  world.shares.charge(kRich, 20ms, world.now);
  world.shares.want(kRich, 1, world.now);
  world.shares.want(kBusy, 2, world.now);
  for (int i = 0; i < 150; ++i) CHECK(world.turn().uid == kBusy);
  // No debt is for ever.
  world.shares.charge(kRich, 1h, world.now);
  const auto began = world.now;
  while (world.turn().uid != kRich) {
  }
  CHECK(world.now - began <= UidShares::kMaxDebt + 1ms);
}

TEST_CASE("wanting twice is wanting once; who leaves is not served") {
  World world;
  world.cost = {{kRich, 1us}};
  world.shares.want(kRich, 1, world.now);
  world.shares.want(kRich, 1, world.now);
  world.shares.want(kRich, 2, world.now);
  CHECK(world.shares.wants(1));
  world.shares.leave(kRich, 1, world.now);
  world.shares.leave(kRich, 1, world.now);
  CHECK_FALSE(world.shares.wants(1));
  for (int i = 0; i < 4; ++i) CHECK(world.turn().client == 2);
}

TEST_CASE("users that want nothing and owe nothing are forgotten") {
  World world;
  for (uid_t uid = 0; uid < 100'000; ++uid) {
    world.now += 1us;
    world.shares.charge(uid, 1us, world.now);
  }
  CHECK(world.shares.account(99'999).spent == 1us);
  CHECK(world.shares.account(0).spent == 0us);
}
