// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/revocation_sync.h"

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
  bool has_network = true;

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
  void listen_pairs(const std::vector<proto::PairListen>&) override {}
  bool online() const override { return has_network; }
};

/// Runs the loop, and with it the pool, until `done`.
bool run_until(Loop& loop, const std::function<bool()>& done) {
  bool late = false;
  Timer limit(loop, [&] {
    late = true;
    loop.stop();
  });
  limit.arm_in(std::chrono::seconds(60));
  BeforeWait check(loop, [&] {
    if (done()) loop.stop();
  });
  if (!done()) loop.run();
  return !late;
}

struct World {
  TempDir dir;
  Loop loop;
  Stores stores = *Stores::open(dir.path());
  Dht dht;
  int changes = 0;
  RevocationSync sync{loop, dht, stores, [this] { ++changes; }};

  /// One search, to the end of it.
  void meet(const proto::CertificateChain& chain) {
    sync.met(chain);
    REQUIRE(run_until(loop, [&] { return sync.oldest_answer().has_value(); }));
  }
};

const X509& account() {
  return *alice_chain().certificate(1);
}
RevocationList list_of(const RevocationList* former, const std::vector<const X509*>& taken_back) {
  return *RevocationList::issue(key_pem(1), account(), former, taken_back, kNow);
}

const std::string kName = "jami-connd:revoked:" + alice_chain().account_id().hex();

}  // namespace

TEST_CASE("fault B7: a list on the DHT is learnt at connect, told, and put again by who knows it") {
  World world;
  const auto list = list_of(nullptr, {alice_chain().certificate(0)});
  const auto forged =
      *RevocationList::issue(key_pem(4), *chain({device_spec(0), issuer_spec(4)}).certificate(1), nullptr, {}, kNow);
  world.dht.there = {{1, 2, 3}, proto::ByteVector(60'000, 0x30), forged.der(), list.der()};
  world.sync.met(alice_chain());
  CHECK(world.dht.asked == std::vector<std::string>{kName});
  // What anybody has put there is read, and its signature looked at, off the loop.
  CHECK(world.changes == 0);
  REQUIRE(run_until(world.loop, [&] { return world.changes == 1; }));
  CHECK(world.stores.crls.is_revoked(*alice_chain().certificate(0), account()));
  CHECK(world.stores.crls.list().size() == 1);
  REQUIRE(world.dht.put.size() == 1);
  CHECK(world.dht.put.back() == std::pair(kName, list.der()));
  CHECK(world.sync.oldest_answer());
  // Met again at once: nothing is asked anew. A daemon that starts anew puts it at once.
  world.sync.met(alice_chain());
  CHECK(world.dht.asked.size() == 1);
  CHECK(world.changes == 1);
  Dht another;
  RevocationSync anew(world.loop, another, world.stores, [] {});
  anew.met(alice_chain());
  CHECK(another.put.front() == std::pair(kName, list.der()));
}

TEST_CASE("fault B7: an older list on the DHT takes nothing back, and what is added here is put there") {
  World world;
  const auto first = list_of(nullptr, {});
  const auto second = list_of(&first, {alice_chain().certificate(0)});
  REQUIRE(*world.stores.crls.learn(second, account()));
  world.dht.there = {first.der()};
  world.meet(alice_chain());
  CHECK(world.changes == 0);
  CHECK(world.stores.crls.newest_of(account())->number() == 2);
  REQUIRE(!world.dht.put.empty());
  for (const auto& [name, der] : world.dht.put) CHECK(der == second.der());
  const auto third = list_of(&second, {});
  REQUIRE(*world.stores.crls.learn(third, account()));
  world.sync.lists_changed();
  CHECK(world.dht.put.back().second == third.der());
}

TEST_CASE("fault B7: after a start lists are put again, and asked about, though no device of the account is there") {
  TempDir dir;
  Loop loop;
  const auto list = list_of(nullptr, {alice_chain().certificate(0)});
  {
    Stores stores = *Stores::open(dir.path());
    Dht dht;
    dht.there = {list.der()};
    int changes = 0;
    RevocationSync sync(loop, dht, stores, [&] { ++changes; });
    sync.met(alice_chain());
    REQUIRE(run_until(loop, [&] { return changes == 1; }));
  }
  Stores stores = *Stores::open(dir.path());
  Dht dht;
  const auto newer = list_of(&list, {bob_chain().certificate(0)});
  dht.there = {newer.der()};
  int changes = 0;
  RevocationSync sync(loop, dht, stores, [&] { ++changes; });
  CHECK(dht.put.empty());  // one account in a turn
  REQUIRE(run_until(loop, [&] { return changes == 1; }));
  CHECK(dht.asked == std::vector<std::string>{kName});
  CHECK(dht.put == std::vector{std::pair(kName, list.der()), std::pair(kName, newer.der())});
}

TEST_CASE("fault B7: without a network nobody has answered") {
  World world;
  world.dht.has_network = false;
  world.sync.met(alice_chain());
  CHECK(world.dht.asked.size() == 1);
  CHECK_FALSE(world.sync.oldest_answer());
  world.dht.has_network = true;
  world.sync.met(bob_chain());  // of the same account, at once: it is asked about once a second
  CHECK(world.dht.asked.size() == 1);
}

TEST_CASE("fault B7: a list that is too long for the DHT is not put, nor taken from there, and that is told") {
  World world;
  std::vector<long> serials;
  for (long i = 0; i < 500; ++i) serials.push_back(0x7f00'0000'0000'0000 + i);
  const auto many = *RevocationList::from_pem(crl_pem(1, serials));
  const auto longer = list_of(&many, {});
  REQUIRE(longer.der().size() > RevocationSync::kMaxListBytes);
  world.dht.there = {longer.der()};
  world.meet(alice_chain());
  CHECK(world.stores.crls.list().empty());
  CHECK(world.sync.too_long().empty());
  REQUIRE(*world.stores.crls.learn(longer, account()));  // as by crl.add
  world.sync.lists_changed();
  CHECK(world.dht.put.empty());
  CHECK(world.sync.too_long() == std::vector{alice_chain().account_id()});
  // What fits is put: the bound is that of what nodes keep.
  serials.resize(200);
  World other;
  const auto fewer = *RevocationList::from_pem(crl_pem(1, serials));
  const auto fits = list_of(&fewer, {});
  REQUIRE(*other.stores.crls.learn(fits, account()));
  other.meet(alice_chain());
  CHECK(other.dht.put.back().second == fits.der());
  CHECK(other.sync.too_long().empty());
}
