// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/request_intake.h"

#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

/// Of device 0 to device 1.
dht::Value sealed_request() {
  Sealing sealing;
  sealing.key = device(0).identity.first;
  sealing.peer_key_der = device(1).public_key;
  sealing.body.assign(kBody.begin(), kBody.end());
  sealing.run();
  dht::Value value(sealing.id);
  value.setCypher(std::move(sealing.cypher));
  return value;
}

dht::Value junk(unsigned number) {
  dht::Value value(dht::Value::Id{1});
  value.setCypher(dht::Blob{static_cast<std::uint8_t>(number), static_cast<std::uint8_t>(number >> 8), 1});
  return value;
}

struct IntakeAtNode : PartsOfClient {
  std::shared_ptr<const DhtBeginning> beginning = read_dht_beginning(config_of(device(1), {}));
  std::vector<IncomingRequest> requests;
  RequestIntake intake{loop, poster, *beginning,
                       [this](const IncomingRequest& request) { requests.push_back(request); }};
  RequestDoor& door = *intake.door();
};

}  // namespace

TEST_CASE("RequestIntake opens what is for us, once a key, however often it comes") {
  IntakeAtNode at;
  const dht::Value request = sealed_request();
  for (int i = 0; i < 3; ++i) at.door.knock(request, {});
  at.door.knock(request, Arrival{true, std::nullopt});
  REQUIRE(run_until(at.loop, [&] { return at.requests.size() == 2; }));
  CHECK(at.requests[0].signer == device(0).id);
  CHECK(at.requests[0].at_short_key != at.requests[1].at_short_key);
  CHECK(at.intake.received() == 2);
  CHECK(at.door.ignored() == 0);
}

TEST_CASE("RequestIntake counts what is not sealed, or not for us") {
  IntakeAtNode at;
  at.door.knock(*value_of({1, 2, 3}), {});
  CHECK(at.door.ignored() == 1);
  at.door.knock(junk(1), {});
  REQUIRE(run_until(at.loop, [&] { return at.door.ignored() == 2; }));
  // By the key of another peer than has signed it.
  at.door.knock(sealed_request(), Arrival{false, device(2).id});
  REQUIRE(run_until(at.loop, [&] { return at.door.ignored() == 3; }));
  CHECK(at.requests.empty());
  CHECK(at.intake.received() == 0);
}

TEST_CASE("RequestIntake: what comes beyond those that may wait is dropped, and its next copy finds room") {
  IntakeAtNode at;
  for (unsigned i = 0; i < kMaxWaitingRequests; ++i) at.door.knock(junk(i), {});
  CHECK(at.door.dropped() == 0);
  const dht::Value request = sealed_request();
  at.door.knock(request, {});
  CHECK(at.door.dropped() == 1);
  // What peers send by keys of their own has a place of its own.
  at.door.knock(request, Arrival{false, device(0).id});
  CHECK(at.door.dropped() == 1);
  at.loop.post([&] { at.door.knock(request, {}); });  // behind those that wait
  REQUIRE(run_until(at.loop, [&] { return at.requests.size() == 2; }));
}

TEST_CASE("RequestIntake tells nothing when it was stopped") {
  IntakeAtNode at;
  at.door.knock(sealed_request(), {});
  at.intake.stop();
  at.turn();
  at.turn();
  CHECK(at.requests.empty());
}
