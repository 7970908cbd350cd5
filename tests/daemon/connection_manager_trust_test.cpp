// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection_manager.h: dates, and chains that requests carry.
#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "daemon/connection_manager.h"
#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

TEST_CASE("fault B3: a connection ends when the peer's certificate has expired meanwhile") {
  World world;
  Exchange exchange{world};
  std::int64_t now = std::time(nullptr);
  Node alice(exchange, 0);
  Node bob(exchange, 1, {.clock = [&now] { return now; }});
  bob.allow(alice);
  auto result = alice.open(bob, "x");
  (void)opened(result);
  now += 3'600;
  bob.manager->dates_changed();
  CHECK(bob.manager->connection_count() == 1);
  now -= 365 * 86'400;  // a clock that was set back says nothing of the peer
  bob.manager->dates_changed();
  CHECK(bob.manager->connection_count() == 1);
  now = alice.chain.validity()->until_unix;
  bob.manager->dates_changed();
  REQUIRE(world.run_until([&] { return bob.events("connection.closed") == 1; }));
  const auto closed = std::find_if(bob.all_events.begin(), bob.all_events.end(),
                                   [](const auto& event) { return event.first == "connection.closed"; });
  CHECK(closed->second["reason"] == "bad-certificate");
  CHECK(closed->second["detail"].get<std::string>().find("the peer's certificate has expired; this device's clock") ==
        0);
}

TEST_CASE("fault A4: who is allowed by its account is let in by the chain that its request carries") {
  World world;
  Exchange exchange{world};
  Node alice(exchange, 0, {.shows_chain = true});
  Node bob(exchange, 1);
  bob.allow_account(alice);
  std::vector<bool> carried;
  exchange.filter = [&](const proto::DeviceId&, const proto::DeviceId& to, const proto::ByteVector& body) {
    const auto request = proto::ConnectionRequest::decode(body);
    REQUIRE(request);
    if (to != bob.id) CHECK(request->chain.empty());  // an answer
    if (to == bob.id) carried.push_back(!request->chain.empty());
    return to != bob.id || carried.size() > 2;  // two are lost
  };
  auto result = alice.open(bob, "x");
  (void)opened(result);
  CHECK(carried == std::vector<bool>{true, false, true});
  CHECK(exchange.lookups == 1);  // hers, of his key
}
