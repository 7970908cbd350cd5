// SPDX-License-Identifier: GPL-3.0-or-later
// DhtClient: connection requests and answers, both ways.
#include <algorithm>
#include <thread>

#include "tests/daemon/dht_peers.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

TEST_CASE("DhtClient carries a request and its answer, at the keys asked for") {
  Loop loop;
  Peer alice(loop, config_of(device(0), {}));
  Peer bob(loop, config_of(device(1), {alice.address()}));  // a node of ours is a bootstrap for others
  REQUIRE(run_until(loop, [&] { return alice.connected() && bob.connected(); }));

  REQUIRE(alice.send(device(1).public_key, kBody, SignalKeys::kBoth));
  REQUIRE(run_until(loop, [&] { return bob.requests.size() == 2; }));
  CHECK(bob.requests[0].at_short_key != bob.requests[1].at_short_key);
  for (const auto& request : bob.requests) {
    CHECK(request.signer == device(0).id);
    CHECK(request.signer_public_key == device(0).public_key);
    CHECK(std::ranges::equal(request.body, kBody));
  }

  const auto& signer_key = bob.requests[0].signer_public_key;
  REQUIRE(bob.send(signer_key, kBody, SignalKeys::kShort));
  REQUIRE(run_until(loop, [&] { return alice.requests.size() == 1; }));
  CHECK(alice.requests[0].at_short_key);
  REQUIRE(bob.send(signer_key, kBody, SignalKeys::kLong));
  REQUIRE(run_until(loop, [&] { return alice.requests.size() == 2; }));
  CHECK_FALSE(alice.requests[1].at_short_key);
  CHECK(alice.client->status().requests_received == 2);

  CHECK_FALSE(bob.send(proto::as_bytes("no key"), kBody, SignalKeys::kBoth));
  const proto::ByteVector large(kMaxRequestBodyBytes + 1);
  CHECK_FALSE(bob.send(signer_key, large, SignalKeys::kBoth));
}

TEST_CASE("fault C5: more requests than are sent at one time wait for their turn") {
  Loop loop;
  Peer alice(loop, config_of(device(0), {}));
  Peer bob(loop, config_of(device(1), {alice.address()}));
  REQUIRE(run_until(loop, [&] { return alice.connected() && bob.connected(); }));
  constexpr std::size_t kMany = kMaxSends + 60;
  std::size_t over = 0;
  std::size_t sent = 0;
  for (std::size_t i = 0; i < kMany; ++i) {
    alice.client->send_request(device(1).public_key, kBody, SignalKeys::kLong, [&](bool ok) {
      ++over;
      sent += ok ? 1 : 0;
    });
  }
  // Those that are too many would be told first, and at once.
  REQUIRE(run_until(loop, [&] { return over > 0; }));
  CHECK(sent == over);
  // How many of so many a node keeps for one key is its own affair.
  REQUIRE(run_until(loop, [&] { return over == kMany; }));
  // And those that have not begun end with the client.
  over = 0;
  for (std::size_t i = 0; i < kMany; ++i) {
    alice.client->send_request(device(1).public_key, kBody, SignalKeys::kLong, [&](bool ok) {
      ++over;
      CHECK_FALSE(ok);
    });
  }
  bool down = false;
  alice.client->shutdown([&] { down = true; });
  REQUIRE(run_until(loop, [&] { return down; }));
  CHECK(over == kMany);
}

namespace {

dht::Value plain_request(const std::string& type = "peer_request") {
  dht::Value value(dht::ValueType::USER_DATA.id, dht::Blob(kBody.begin(), kBody.end()));
  value.user_type = type;
  return value;
}
/// What OpenDHT does to put a value encrypted, step by step, so that steps can be left out.
dht::Value sealed(const dht::Value& content, const Device& to) {
  dht::Value out;
  out.setCypher(to.identity.second->getPublicKey().encrypt(content.getToEncrypt()));
  return out;
}
dht::Value signed_request(const Device& from, const Device& to) {
  auto value = plain_request();
  value.setRecipient(dht::InfoHash(to.short_id.hex()));
  value.sign(*from.identity.first);
  return value;
}

}  // namespace

TEST_CASE("DhtClient hands on what is signed and for it, and nothing else") {
  Loop loop;
  Peer alice(loop, config_of(device(0), {}));
  Stranger eve;
  connect(eve, alice);
  const auto key = dht::InfoHash::get("peer:" + device(0).id.hex());

  std::uint64_t ignored = 0;
  const auto ignores = [&](dht::Value&& value) {
    REQUIRE(eve.put(key, std::move(value)));
    ++ignored;
    return run_until(loop, [&] { return alice.client->status().requests_ignored == ignored; });
  };
  CHECK(ignores(plain_request()));  // neither signed nor encrypted
  auto nobodys = plain_request();
  nobodys.sign(*device(1).identity.first);
  CHECK(ignores(std::move(nobodys)));  // signed, but for nobody
  auto other_type = plain_request("peer_requests");
  other_type.setRecipient(dht::InfoHash(device(0).short_id.hex()));
  other_type.sign(*device(1).identity.first);
  CHECK(ignores(sealed(other_type, device(0))));

  CHECK(ignores(sealed(plain_request(), device(0))));  // not signed
  auto forged = signed_request(device(1), device(0));
  forged.signature[7] ^= 1;
  CHECK(ignores(sealed(forged, device(0))));
  CHECK(ignores(sealed(signed_request(device(1), device(2)), device(2))));  // not for us

  // The right one comes.
  REQUIRE(eve.put(key, sealed(signed_request(device(1), device(0)), device(0))));
  REQUIRE(run_until(loop, [&] { return !alice.requests.empty(); }));
  CHECK(alice.requests.size() == 1);
  CHECK(alice.requests[0].signer == device(1).id);
  CHECK(alice.client->status().requests_ignored == ignored);
  CHECK(alice.client->status().requests_dropped == 0);
}

TEST_CASE("DhtClient bounds the requests that wait for the loop") {
  constexpr unsigned kTooMany = 20;
  Loop loop;
  DhtConfig config = config_of(device(0), {});
  config.max_peer_requests_per_second = -1;
  config.max_requests_per_second = -1;
  Peer alice(loop, config);
  Stranger eve;
  connect(eve, alice);
  const auto key = dht::InfoHash::get("peer:" + device(0).id.hex());
  const auto request = signed_request(device(1), device(0));
  std::vector<dht::Blob> cyphers;
  while (cyphers.size() < kMaxWaitingRequests + kTooMany) cyphers.push_back(sealed(request, device(0)).cypher);
  const auto put_all = [&] {
    for (const auto& cypher : cyphers) {
      dht::Value value;
      value.setCypher(dht::Blob(cypher));
      REQUIRE(eve.put(key, std::move(value)));
    }
  };
  put_all();
  // The loop stands still meanwhile: the counter is the only sign of life.
  while (alice.client->status().requests_dropped < kTooMany) std::this_thread::yield();
  REQUIRE(run_until(loop, [&] { return alice.requests.size() >= kMaxWaitingRequests; }));

  // And it goes on, with those that were dropped, too, should they come again; the others came already.
  put_all();
  CHECK(run_until(loop, [&] { return alice.requests.size() == cyphers.size(); }));
  REQUIRE(eve.put(key, sealed(request, device(0))));
  CHECK(run_until(loop, [&] { return alice.requests.size() == cyphers.size() + 1; }));
}
