// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/chain_lookups.h"

#include "daemon/dht/dht_setup.h"
#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

struct LookupsAtNode : PartsOfClient {
  ChainLookups lookups{loop, poster, node};
  int ended = 0;
  std::optional<proto::CertificateChain> found;

  void find(std::size_t number, proto::TimePoint deadline, ChainUse use = ChainUse::kCall, bool also_short = false) {
    proto::DeviceId id = device(0).id;
    if (number > 0)
      id.bytes[0] = static_cast<std::uint8_t>(number), id.bytes[1] = static_cast<std::uint8_t>(number >> 8);
    lookups.find(id, also_short ? std::optional(device(0).short_id) : std::nullopt, deadline, use, kAny,
                 [this](std::optional<proto::CertificateChain> chain) {
                   ++ended;
                   found = std::move(chain);
                 });
  }
};

}  // namespace

TEST_CASE("ChainLookups asks at each key of a device, and takes the first chain that is its own") {
  LookupsAtNode at;
  at.find(0, at.later(), ChainUse::kCall, true);
  REQUIRE(at.node.gets.size() == 3);
  CHECK(at.node.gets[0].key == own_chain_key(device(0).id));
  CHECK(at.node.gets[1].key == long_id_key(device(0).id));
  CHECK(at.node.gets[2].key == hash_of(device(0).short_id));
  CHECK(at.node.gets[0].type == dht::ValueType::USER_DATA.id);
  CHECK(at.node.gets[1].type == dht::CERTIFICATE_TYPE.id);

  const auto junk = value_of(dht::Blob(100, 7));
  CHECK(at.node.gets[1].values({junk, certificate_value(device(1))}));
  at.turn();
  CHECK(at.ended == 0);
  CHECK(at.node.gets[1].values({certificate_value(device(0))}));
  REQUIRE(run_until(at.loop, [&] { return at.ended > 0; }));
  REQUIRE(at.found);
  CHECK(at.found->device_id() == device(0).id);
}

TEST_CASE("ChainLookups: so much is looked at under one key, and no more") {
  LookupsAtNode at;
  at.find(0, at.later());
  DhtValues many;
  for (std::size_t i = 0; i < kMaxChainBytesPerKey / 1'024; ++i) {  // each counts for 1 KiB at least
    dht::Blob data(8, 1);
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&i), sizeof i, data.begin());
    many.push_back(value_of(data));
  }
  const auto last = many.back();
  many.pop_back();
  CHECK(at.node.gets[0].values(many));
  CHECK_FALSE(at.node.gets[0].values({last}));
  at.turn();
}

TEST_CASE("ChainLookups: those that find no place wait, what a request needs first") {
  LookupsAtNode at;
  at.find(1, at.loop.now());  // over in the next turn
  for (std::size_t i = 2; i <= kMaxLookups; ++i) at.find(i, at.later());
  CHECK(at.node.gets.size() == 2 * kMaxLookups);
  at.find(1'000, at.later());
  at.find(2'000, at.later(), ChainUse::kRequest);
  CHECK(at.node.gets.size() == 2 * kMaxLookups);
  CHECK(at.lookups.begun() == kMaxLookups + 2);
  REQUIRE(run_until(at.loop, [&] { return at.ended == 1; }));
  REQUIRE(at.node.gets.size() == 2 * kMaxLookups + 2);
  proto::DeviceId urgent = device(0).id;
  urgent.bytes[0] = static_cast<std::uint8_t>(2'000 & 0xff);
  urgent.bytes[1] = static_cast<std::uint8_t>(2'000 >> 8);
  CHECK(at.node.gets.back().key == long_id_key(urgent));
}

TEST_CASE("ChainLookups: what is under way is asked of the next node; what pauses is not") {
  LookupsAtNode at;
  at.node.there = false;
  at.find(1, at.later());
  CHECK(at.node.gets.empty());
  at.node.there = true;
  at.lookups.take_up();
  REQUIRE(at.node.gets.size() == 2);
  at.lookups.take_up();
  REQUIRE(at.node.gets.size() == 4);
  at.node.gets[2].over();
  at.node.gets[3].over();
  at.lookups.take_up();  // the next round comes by itself
  CHECK(at.node.gets.size() == 4);
  REQUIRE(run_until(at.loop, [&] { return at.node.gets.size() == 6; }));
}

TEST_CASE("ChainLookups: with the end each ends, and those that come after it do too, but not from inside the call") {
  LookupsAtNode at;
  at.find(1, at.later());
  at.lookups.stop();
  at.find(2, at.later());
  CHECK(at.ended == 0);
  at.turn();
  CHECK(at.ended == 1);
  at.lookups.end_all();
  CHECK(at.ended == 2);
  CHECK_FALSE(at.found);
}

TEST_CASE("ChainLookups: what OpenDHT says when the client has gone is dropped") {
  LookupsAtNode at;
  at.find(0, at.later());
  at.client.reset();
  CHECK(at.node.gets[0].values({certificate_value(device(0))}));
  at.turn();
  CHECK(at.ended == 0);
}
