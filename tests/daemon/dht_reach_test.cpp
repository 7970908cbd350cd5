// SPDX-License-Identifier: GPL-3.0-or-later
// Faults E00 and E1 with real nodes.
#include "tests/daemon/dht_peers.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

TEST_CASE("fault E00: a device that is reached knows it; one that is alone does not think so") {
  Stranger storage;
  Loop loop;
  std::vector<Reach> told;
  DhtHandlers handlers;
  handlers.on_reach = [&](Reach reach) { told.push_back(reach); };
  DhtClient client(loop, config_of(device(0), {storage.address()}), std::move(handlers));
  Peer alone(loop, config_of(device(1), {}));
  REQUIRE(run_until(loop, [&] { return client.status().reach == Reach::kYes; }));
  CHECK(told == std::vector<Reach>{Reach::kYes});
  CHECK(client.status().last_reached.has_value());
  CHECK(client.status().self_tests == 1);
  CHECK(client.status().node_renewals == 0);
  CHECK(alone.client->status().reach == Reach::kUnknown);
  CHECK(alone.client->status().self_tests == 0);
  CHECK(alone.requests.empty());
}

TEST_CASE("fault E1: a request that was put before its receiver had started reaches it") {
  Stranger storage;
  Loop loop;
  Peer alice(loop, config_of(device(0), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected(); }));
  REQUIRE(alice.send(device(1).public_key, kBody, RequestKeys::kBoth));
  const auto begun = loop.now();
  Peer bob(loop, config_of(device(1), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return !bob.requests.empty(); }));
  CHECK(loop.now() - begun < seconds(3));
}
