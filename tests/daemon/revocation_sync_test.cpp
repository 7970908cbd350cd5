// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/revocation_sync.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"
#include "tests/proto/certificates.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::RevocationList;

namespace {

/// A DHT that holds `there`, under whatever name.
class Dht final : public Signalling {
 public:
  std::vector<proto::ByteVector> there;
  std::vector<std::pair<std::string, proto::ByteVector>> put;
  std::vector<std::string> asked;

  void publish(const std::string& name, proto::Bytes data) override {
    put.emplace_back(name, proto::ByteVector(data.begin(), data.end()));
  }
  void find_published(const std::string& name, proto::TimePoint,
                      std::function<void(const std::vector<proto::ByteVector>&)> done) override {
    asked.push_back(name);
    done(there);
  }

 private:
  void find_chain(const proto::DeviceId&, const std::optional<proto::ShortDeviceId>&, proto::TimePoint, ChainUse,
                  ChainWanted, std::function<void(std::optional<proto::CertificateChain>)>) override {}
  void find_devices(const proto::AccountId&, proto::TimePoint,
                    std::function<void(const std::optional<FoundDevice>&)>) override {}
  void send(const SignalTarget&, proto::Bytes) override {}
  void listen_pairs(const std::vector<PairListen>&) override {}
};

struct World {
  TempDir dir;
  Loop loop;
  Stores stores = *Stores::open(dir.path());
  Dht dht;
  int changes = 0;
  RevocationSync sync{loop, dht, stores, [this] { ++changes; }};
};

const X509& account() {
  return *alice_chain().certificate(1);
}
RevocationList list_of(const RevocationList* former, const std::vector<const X509*>& taken_back) {
  return *RevocationList::issue(key_pem(1), account(), former, taken_back, kNow);
}

}  // namespace

TEST_CASE("fault B7: a list on the DHT is learnt at connect, told, and put again by who knows it") {
  World world;
  const auto list = list_of(nullptr, {alice_chain().certificate(0)});
  const auto forged =
      *RevocationList::issue(key_pem(4), *chain({device_spec(0), issuer_spec(4)}).certificate(1), nullptr, {}, kNow);
  world.dht.there = {{1, 2, 3}, proto::ByteVector(60'000, 0x30), forged.der(), list.der()};
  world.sync.met(alice_chain());
  const std::string name = "jami-connd:revoked:" + alice_chain().account_id().hex();
  CHECK(world.dht.asked == std::vector<std::string>{name});
  CHECK(world.changes == 1);
  CHECK(world.stores.crls.is_revoked(*alice_chain().certificate(0), account()));
  CHECK(world.stores.crls.list().size() == 1);
  REQUIRE(world.dht.put.size() == 1);
  CHECK(world.dht.put.back() == std::pair(name, list.der()));
  CHECK(world.sync.oldest_answer() == world.loop.now());
  // Met again at once: nothing is asked anew. A daemon that starts anew puts it at once.
  world.sync.met(alice_chain());
  CHECK(world.dht.asked.size() == 1);
  CHECK(world.changes == 1);
  Dht another;
  RevocationSync anew(world.loop, another, world.stores, [] {});
  anew.met(alice_chain());
  CHECK(another.put.front() == std::pair(name, list.der()));
}

TEST_CASE("fault B7: an older list on the DHT takes nothing back, and what is added here is put there") {
  World world;
  const auto first = list_of(nullptr, {});
  const auto second = list_of(&first, {alice_chain().certificate(0)});
  REQUIRE(*world.stores.crls.learn(second, account()));
  world.dht.there = {first.der()};
  world.sync.met(alice_chain());
  CHECK(world.changes == 0);
  CHECK(world.stores.crls.newest_of(account())->number() == 2);
  for (const auto& [name, der] : world.dht.put) CHECK(der == second.der());
  const auto third = list_of(&second, {});
  REQUIRE(*world.stores.crls.learn(third, account()));
  world.sync.lists_changed();
  CHECK(world.dht.put.back().second == third.der());
}
