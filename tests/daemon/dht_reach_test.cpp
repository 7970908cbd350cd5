// SPDX-License-Identifier: GPL-3.0-or-later
// FAULTS E00 and E1 with real nodes: a device that knows whether it is reached, and a node that is made anew.
#include <atomic>

#include "tests/daemon/dht_peers.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

/// A node that may take probes, and then say nothing of them: to whoever put them, it looks deaf to its listens.
struct Storage : Stranger {
  std::atomic<bool> silent{false};
  Storage() {
    dht::ValueType type = dht::ValueType::USER_DATA;
    type.storePolicy = [this](dht::InfoHash, std::shared_ptr<dht::Value>& value, const dht::InfoHash&,
                              const dht::SockAddr&) { return !silent || value->user_type != "jami-connd:probe"; };
    runner.registerType(type);
  }
};

}  // namespace

TEST_CASE("fault E00: a device that is reached knows it; one that is alone does not think so") {
  Storage storage;
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

TEST_CASE("fault E00: a node that is deaf is made anew, on the same port, and nothing is lost by it") {
  Storage storage;
  Loop loop;
  std::vector<Reach> told;
  std::vector<DhtState> states;
  std::vector<SignalMessage> requests;
  DhtHandlers handlers;
  handlers.on_reach = [&](Reach reach) { told.push_back(reach); };
  handlers.on_state = [&](DhtState state) { states.push_back(state); };
  handlers.on_request = [&](SignalMessage request) { requests.push_back(std::move(request)); };
  DhtClient deaf(loop, config_of(device(0), {storage.address()}), std::move(handlers));
  const std::uint16_t port = deaf.status().port4;
  REQUIRE(run_until(loop, [&] { return deaf.status().reach == Reach::kYes; }));

  storage.silent = true;
  deaf.network_changed();
  // Both are under way when the node goes, and end well all the same: a lookup of what is not there yet, a request.
  bool found_all = false;
  std::size_t found = 0;
  const proto::AccountId account_id = *proto::AccountId::from_hex(account().second->getId().toString());
  deaf.find_devices(account_id, loop.now() + seconds(25),
                    [&](const std::optional<FoundDevice>& some) { some ? void(++found) : void(found_all = true); });
  bool stored = false;
  bool sent = false;
  BeforeWait when_it_goes(loop, [&] {
    if (sent || states.back() != DhtState::kDisconnected) return;
    sent = true;  // there is no node at this moment
    deaf.send_request(device(1).public_key, kBody, SignalKeys::kBoth, [&](bool ok) { stored = ok; });
  });
  REQUIRE(run_until(loop, [&] { return deaf.status().node_renewals == 1; }));
  storage.silent = false;
  Peer bob(loop, config_of(device(1), {storage.address()}));  // only now: he would store and tell, too
  REQUIRE(run_until(loop, [&] { return stored && !bob.requests.empty(); }));
  REQUIRE(run_until(loop, [&] { return deaf.status().reach == Reach::kYes; }));
  CHECK(told == std::vector<Reach>{Reach::kYes, Reach::kNo, Reach::kUnknown, Reach::kYes});
  CHECK(deaf.status().port4 == port);

  // What it listened at, it listens at; what it had put is there.
  REQUIRE(bob.send(device(0).public_key, kBody, SignalKeys::kLong));
  REQUIRE(bob.send(device(0).public_key, kBody, SignalKeys::kShort));
  REQUIRE(run_until(loop, [&] { return requests.size() >= 2; }));
  CHECK(bob.find(device(0)).has_value());

  // Announced only now: the search of before goes on in the new node.
  DhtConfig announced = config_of(device(2), {storage.address()});
  announced.announcement = sign_announcement(pem_of(*account().first), announced.certificate_chain_pem);
  const Peer carol(loop, announced);
  REQUIRE(run_until(loop, [&] { return found_all; }));
  CHECK(found == 1);
}

TEST_CASE("fault E00: a client ends while its node is made anew") {
  Storage storage;
  storage.silent = true;
  for (const bool properly : {false, true}) {
    Loop loop;
    bool down = false;
    std::vector<DhtState> states;
    DhtHandlers handlers;
    handlers.on_state = [&](DhtState state) { states.push_back(state); };
    auto client = std::make_unique<DhtClient>(loop, config_of(device(0), {storage.address()}), std::move(handlers));
    REQUIRE(run_until(loop, [&] { return client->status().node_renewals == 1; }));
    if (properly) {
      client->shutdown([&] { down = true; });
      REQUIRE(run_until(loop, [&] { return down; }));
    }
    client.reset();
  }
}

TEST_CASE("fault E1: a request that was put before its receiver had started reaches it") {
  Stranger storage;
  Loop loop;
  Peer alice(loop, config_of(device(0), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected(); }));
  REQUIRE(alice.send(device(1).public_key, kBody, SignalKeys::kBoth));
  const auto begun = loop.now();
  Peer bob(loop, config_of(device(1), {storage.address()}));
  REQUIRE(run_until(loop, [&] { return !bob.requests.empty(); }));
  CHECK(loop.now() - begun < seconds(3));
}
