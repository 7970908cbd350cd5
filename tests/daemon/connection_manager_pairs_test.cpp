// SPDX-License-Identifier: GPL-3.0-or-later
// Requests and answers by the keys that two devices share.
#include <catch2/catch.hpp>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

/// They have a connection, and then have none.
void meet(World& world, Node& one, Node& other) {
  auto opened_one = one.open(other, "x");
  opened(opened_one);
  one.manager->close_connections(other.id, proto::Reason::kClosed, {});
  REQUIRE(
      world.run_until([&] { return one.manager->connection_count() == 0 && other.manager->connection_count() == 0; }));
}

}  // namespace

TEST_CASE("fault A5: devices that have met call each other by keys of their own; the public ones may be shut") {
  Two two;
  meet(two.world, two.alice, two.bob);
  CHECK(two.exchange.by_pair == 0);
  CHECK(two.alice.pair_listens.size() >= 1);  // she is not allowed by her own list, but has called him
  two.exchange.public_keys_work = [](const proto::DeviceId&) { return false; };
  for (int round = 1; round <= 3; ++round) {
    meet(two.world, two.alice, two.bob);
    CHECK(two.exchange.by_pair == 2 * round);  // the request, and the answer
  }
  CHECK(two.alice.pair_listens.size() == two.bob.pair_listens.size());
}

TEST_CASE("fault A5: where one has lost the secret, the public keys do") {
  Two two;
  meet(two.world, two.alice, two.bob);
  SECTION("the callee") {
    two.bob.pair_listens.clear();
  }
  SECTION("the caller hears nothing at its own") {
    two.alice.pair_listens.clear();
  }
  meet(two.world, two.alice, two.bob);
}

TEST_CASE("fault A5: who is banned, or was allowed and is no more, shares no key any more") {
  Two two;
  meet(two.world, two.alice, two.bob);
  REQUIRE_FALSE(two.bob.pair_listens.empty());
  SECTION("banned") {
    two.bob.ban(two.alice);
  }
  SECTION("banned by the caller") {
    two.alice.ban(two.bob);
    CHECK(two.alice.pair_listens.empty());
    return;
  }
  SECTION("unset") {
    two.bob.unset(two.alice);
  }
  CHECK(two.bob.pair_listens.empty());
}

TEST_CASE("fault A5: a request that comes by both ways is one request") {
  Two two;
  meet(two.world, two.alice, two.bob);
  two.exchange.filter = [&](const proto::DeviceId& from, const proto::DeviceId&, const proto::ByteVector& body) {
    const auto request = proto::ConnectionRequest::decode(body);
    return !(from == two.bob.id && request.ok() && request->is_answer && ++two.exchange.lookups % 2 == 1);
  };
  const std::size_t before = two.bob.events("connection.connecting");
  meet(two.world, two.alice, two.bob);  // her first answer is lost: she asks by all keys then
  CHECK(two.bob.events("connection.connecting") == before + 1);
}
