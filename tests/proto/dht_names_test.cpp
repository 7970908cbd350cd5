// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_names.h"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "proto/dht_gate.h"
#include "proto/dht_limits.h"
#include "proto/dht_walker.h"
#include "tests/proto/dht_messages.h"

using namespace connd::proto;
using namespace connd::proto::test;

namespace {

constexpr std::uint8_t kOwn = 0x42;

/// As an answer names it.
ByteVector node(const DhtAddress& at, std::uint8_t id) {
  ByteVector out = node_id(id);
  out.insert(out.end(), at.ip.begin(), at.ip.begin() + static_cast<std::ptrdiff_t>(at.ip_bytes()));
  out.push_back(static_cast<std::uint8_t>(at.port >> 8));
  out.push_back(static_cast<std::uint8_t>(at.port));
  return out;
}
ByteVector nodes(const std::vector<DhtAddress>& all) {
  ByteVector out;
  for (const DhtAddress& one : all) {
    const ByteVector bytes = node(one, one.ip[3]);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}
ByteVector answer(const ByteVector& n4, std::uint32_t tid) {
  Pack p = id_map(3, 0x21);
  p.str("n4").bin(n4).str("token").bin(bytes_of(32, 1));
  return reply(p, tid);
}

/// A gate whose OpenDHT asks address(1) again and again.
struct World {
  DhtGate gate{[] {
    DhtGateConfig out;
    out.node_id.fill(kOwn);
    out.random = counting_random();
    return out;
  }()};
  std::uint32_t tid = 100;

  DhtReceived ask(const ByteVector& n4, long now) {
    ++tid;
    Pack p = id_map(2, kOwn);
    CHECK(gate.on_send(address(1), query("get", p.str("h").bin(node_id(5)), tid), at(now)).what ==
          DhtSend::What::kSend);
    return gate.on_received(address(1), answer(n4, tid), at(now));
  }
  DhtReceived ask(const std::vector<DhtAddress>& named, long now) { return ask(nodes(named), now); }

  /// The pings that went out, by address; the asked node's proof is none of them.
  std::vector<DhtDatagram> pings() {
    auto out = gate.take_outgoing();
    std::erase_if(out, [](const DhtDatagram& one) { return one.address == address(1); });
    return out;
  }
  void pong(const DhtDatagram& ping, long now) {
    DhtMessage message;
    REQUIRE(walk_dht_message(ping.bytes, message) == DhtFault::kNone);
    const ByteVector bytes = reply(id_map(1, ping.address.ip[3]), message.tid);
    CHECK(gate.on_received(ping.address, bytes, at(now)).what == DhtReceived::What::kTaken);
  }
  /// The nodes that the one answer names that came to OpenDHT.
  std::vector<std::uint8_t> heard() {
    const auto all = gate.take_incoming();
    REQUIRE(all.size() == 1);
    return named_in(all[0]);
  }
  static std::vector<std::uint8_t> named_in(const DhtDatagram& one) {
    DhtMessage message;
    REQUIRE(walk_dht_message(one.bytes, message) == DhtFault::kNone);
    CHECK(message.kind == DhtKind::kReply);
    CHECK(message.has_token);
    std::vector<std::uint8_t> out;
    for (const auto& named : message.named) {
      const std::size_t step = named.ipv6 ? kDhtNode6Bytes : kDhtNode4Bytes;
      for (std::size_t i = 0; i < named.nodes.size(); i += step) out.push_back(named.nodes[i]);
    }
    return out;
  }
};

using Ids = std::vector<std::uint8_t>;

}  // namespace

TEST_CASE("fault E1: an answer waits for the nodes that it names, and loses those that are silent", "[dht]") {
  World w;
  CHECK(w.ask({address(7), address(8), address(9)}, 0).what == DhtReceived::What::kTaken);
  const auto pings = w.pings();
  REQUIRE(pings.size() == 3);
  CHECK(w.gate.take_incoming().empty());
  CHECK(w.gate.next_deadline() == at(250));
  w.pong(pings[0], 20);
  w.pong(pings[2], 40);
  CHECK(w.gate.take_incoming().empty());
  w.gate.on_timeout(at(249));
  CHECK(w.gate.take_incoming().empty());
  w.gate.on_timeout(at(250));
  CHECK(w.heard() == Ids{7, 9});
  CHECK(w.gate.counters().names_cut == 1);
  CHECK(w.gate.next_deadline() == kNever);
  // It is known now: nobody waits again, and it is not pinged at each name.
  CHECK(w.ask({address(8), address(7)}, 300).what == DhtReceived::What::kTaken);
  CHECK(w.heard() == Ids{7});
  CHECK(w.pings().empty());
  CHECK(w.ask({address(7), address(9)}, 400).what == DhtReceived::What::kPass);
}

TEST_CASE("fault E1: an answer goes on as soon as all have answered", "[dht]") {
  World w;
  CHECK(w.ask({address(7), address(8)}, 0).what == DhtReceived::What::kTaken);
  CHECK(w.ask({address(8)}, 10).what == DhtReceived::What::kTaken);  // each is pinged once for both
  const auto pings = w.pings();
  REQUIRE(pings.size() == 2);
  w.pong(pings[1], 30);
  CHECK(w.heard() == Ids{8});
  w.pong(pings[0], 50);
  CHECK(w.heard() == Ids{7, 8});
}

TEST_CASE("fault E1: a node that was left out and answers late is told to OpenDHT by a ping of its own", "[dht]") {
  World w;
  CHECK(w.ask({address(7)}, 0).what == DhtReceived::What::kTaken);
  const auto pings = w.pings();
  REQUIRE(pings.size() == 1);
  w.gate.on_timeout(at(250));
  CHECK(w.heard().empty());
  w.pong(pings[0], 600);
  const auto told = w.gate.take_incoming();
  REQUIRE(told.size() == 1);
  CHECK(told[0].address == address(7));
  DhtMessage message;
  REQUIRE(walk_dht_message(told[0].bytes, message) == DhtFault::kNone);
  CHECK(message.kind == DhtKind::kPing);
  CHECK(ByteVector(message.id.begin(), message.id.end()) == node_id(7));
  CHECK(w.ask({address(7)}, 700).what == DhtReceived::What::kPass);
}

TEST_CASE("fault E1: a node that lived and does not answer OpenDHT is tried again before it is told", "[dht]") {
  World w;
  CHECK(w.ask({address(7)}, 0).what == DhtReceived::What::kTaken);
  w.pong(w.pings().at(0), 20);
  CHECK(w.heard() == Ids{7});
  const auto get = [&](long now) {
    Pack p = id_map(2, kOwn);
    CHECK(w.gate.on_send(address(7), query("get", p.str("h").bin(node_id(5)), 50), at(now)).what ==
          DhtSend::What::kSend);
  };
  get(1'000);
  CHECK(w.ask({address(7)}, 1'100).what == DhtReceived::What::kPass);  // its answer may still come
  CHECK(w.gate.on_received(address(7), answer({}, 50), at(1'150)).what == DhtReceived::What::kPass);
  CHECK(w.ask({address(7)}, 2'000).what == DhtReceived::What::kPass);  // it came
  get(3'000);
  CHECK(w.ask({address(7)}, 3'250).what == DhtReceived::What::kTaken);
  CHECK(w.pings().size() == 1);
  w.gate.on_timeout(at(3'500));
  CHECK(w.heard().empty());
  // After a change of network all are as new: it was ours that was away, maybe.
  w.gate.on_network_changed(at(4'000));
  CHECK(w.ask({address(7)}, 4'000).what == DhtReceived::What::kTaken);
  CHECK(w.pings().size() == 1);
}

TEST_CASE("fault E1: names of ourselves, of no host, and in what nobody asked for stay as they are", "[dht]") {
  World w;
  CHECK(w.ask(node(address(7), kOwn), 0).what == DhtReceived::What::kPass);
  for (const std::array<std::uint8_t, 4> ip :
       {std::array<std::uint8_t, 4>{0, 1, 2, 3}, {224, 0, 0, 1}, {255, 255, 255, 255}}) {
    DhtAddress none;
    none.port = 4222;
    std::copy(ip.begin(), ip.end(), none.ip.begin());
    CHECK(w.ask({none}, 0).what == DhtReceived::What::kPass);
  }
  CHECK(w.ask({address(7, 0)}, 0).what == DhtReceived::What::kPass);
  CHECK(w.gate.on_received(address(3), answer(nodes({address(8)}), 999), at(0)).what == DhtReceived::What::kPass);
  CHECK(w.pings().empty());
}

TEST_CASE("fault E1: both families, and an answer whose values come in parts", "[dht]") {
  World w;
  DhtAddress v6;
  v6.family = DhtAddress::Family::kIpv6;
  v6.ip = {0x20, 0x01, 0x0d, 0xb8};
  v6.port = 4222;
  const ByteVector value = plain_value(1, 3000).bytes;
  Pack p = id_map(2, kOwn);
  CHECK(w.gate.on_send(address(1), query("get", p.str("h").bin(node_id(5)), 9), at(0)).what == DhtSend::What::kSend);
  Pack said = id_map(5, 0x21);
  said.str("n6").bin(node(v6, 6)).str("values").array(1).uint(value.size());
  said.str("n4").bin(nodes({address(7), address(8)})).str("token").bin(bytes_of(32, 1));
  CHECK(w.gate.on_received(address(1), reply(said, 9), at(0)).what == DhtReceived::What::kTaken);
  for (const ByteVector& one : parts_of(0, value, 9)) (void)w.gate.on_received(address(1), one, at(10));
  CHECK(w.gate.take_incoming().empty());
  auto pings = w.pings();
  REQUIRE(pings.size() == 3);
  w.pong(*std::find_if(pings.begin(), pings.end(), [](const auto& one) { return one.address == address(8); }), 20);
  w.gate.on_timeout(at(260));
  const auto all = w.gate.take_incoming();
  REQUIRE(all.size() == 1);
  CHECK(World::named_in(all[0]) == Ids{8});
  DhtMessage message;
  REQUIRE(walk_dht_message(all[0].bytes, message) == DhtFault::kNone);
  CHECK(message.whole.size() == 1);
}

TEST_CASE("fault E1: pings of named nodes, and answers that wait, are bounded", "[dht]") {
  World w;
  std::set<DhtAddress> pinged;
  std::size_t waiting = 0;
  for (std::uint32_t n = 0; n < 200; ++n) {
    std::vector<DhtAddress> named;
    for (std::uint32_t k = 0; k < 8; ++k) named.push_back(nth_address(8 * n + k));
    ByteVector bytes;
    for (const auto& one : named) {
      const ByteVector added = node(one, 0x77);
      bytes.insert(bytes.end(), added.begin(), added.end());
    }
    const auto what = w.ask(bytes, 1).what;
    if (what == DhtReceived::What::kTaken && w.gate.take_incoming().empty()) ++waiting;
    for (const auto& one : w.pings()) pinged.insert(one.address);
  }
  CHECK(pinged.size() == kNamedPingBurst);
  CHECK(waiting <= kMaxWaitingAnswers);
  CHECK(waiting > 0);
  w.gate.on_timeout(at(251));
  CHECK(w.gate.take_incoming().size() == waiting);
  CHECK(w.gate.next_deadline() == kNever);
}
