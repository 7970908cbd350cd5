// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_gate.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "proto/dht_limits.h"
#include "proto/dht_signed_ids.h"
#include "proto/dht_walker.h"
#include "tests/proto/dht_messages.h"

using namespace connd::proto;
using namespace connd::proto::test;

namespace {

DhtGateConfig config() {
  DhtGateConfig out;
  out.node_id.fill(0x42);
  out.random = counting_random();
  return out;
}

std::uint64_t dropped(const DhtGate& gate, DhtFault fault) {
  return gate.counters().dropped[static_cast<std::size_t>(fault)];
}

ByteVector get(std::uint32_t tid) {
  Pack p = id_map(2, 0x42);
  return query("get", p.str("h").bin(node_id(5)), tid);
}

}  // namespace

TEST_CASE("fault A1: the gate passes what is in order, and counts what is not by its reason", "[dht]") {
  DhtGate gate(config());
  CHECK(gate.on_received(address(1), get(1), at(0)).what == DhtReceived::What::kPass);
  const DhtReceived bad = gate.on_received(address(1), from_hex_text("83a16590a179a165a17401"), at(0));
  CHECK(bad.what == DhtReceived::What::kDropped);
  CHECK(bad.fault == DhtFault::kMissing);
  CHECK(gate.on_received(address(1), {}, at(0)).fault == DhtFault::kEmpty);
  CHECK(dropped(gate, DhtFault::kMissing) == 1);
  CHECK(dropped(gate, DhtFault::kEmpty) == 1);
  CHECK(gate.counters().received == 3);
  CHECK(gate.counters().passed == 1);
  CHECK(gate.take_incoming().empty());
  CHECK(gate.take_outgoing().empty());
}

TEST_CASE("fault A1: the gate never lets parts to OpenDHT, but whole messages", "[dht]") {
  DhtGate gate(config());
  const ByteVector value = plain_value(1, 3000).bytes;
  const auto receive_all = [&](std::uint32_t tid) {
    CHECK(gate.on_received(address(1), sized_reply({value.size()}, tid), at(0)).what == DhtReceived::What::kTaken);
    for (const ByteVector& p : parts_of(0, value, tid)) {
      CHECK(gate.take_incoming().empty());
      CHECK(gate.on_received(address(1), p, at(0)).what == DhtReceived::What::kTaken);
    }
    const auto whole = gate.take_incoming();
    REQUIRE(whole.size() == 1);
    DhtMessage message;
    REQUIRE(walk_dht_message(whole[0].bytes, message) == DhtFault::kNone);
    CHECK(message.sized.empty());
    CHECK(message.values == 1);
  };
  SECTION("asked for") {
    REQUIRE(gate.on_send(address(1), get(9), at(0)).what == DhtSend::What::kSend);
    receive_all(9);
  }
  SECTION("not asked for") {
    receive_all(9);
  }
  SECTION("nor those that nobody announced") {
    CHECK(gate.on_received(address(1), part(0, 0, value, 9), at(0)).fault == DhtFault::kStrayPart);
  }
  SECTION("nor a value that cannot be read: the rest of its message passes") {
    Pack p = id_map(2);
    p.str("values").array(2).add(Pack().map(1).str("id").uint(1)).add(plain_value(2, 4));
    CHECK(gate.on_received(address(1), reply(p), at(0)).what == DhtReceived::What::kTaken);
    const auto whole = gate.take_incoming();
    REQUIRE(whole.size() == 1);
    Pack expected = id_map(2);
    expected.str("values").array(2).raw({0xc0}).add(plain_value(2, 4));
    CHECK(to_hex(whole[0].bytes) == to_hex(reply(expected)));
    CHECK(gate.counters().bad_values == 1);
  }
}

TEST_CASE("a flood of values that nobody asked for leaves the asked ones their room", "[dht]") {
  DhtGate gate(config());
  const ByteVector value = plain_value(1, 3000).bytes;
  REQUIRE(gate.on_send(address(1), get(9), at(0)).what == DhtSend::What::kSend);
  REQUIRE(gate.on_received(address(1), sized_reply({value.size()}, 9), at(0)).what == DhtReceived::What::kTaken);
  for (std::uint32_t n = 0; n < 3000; ++n) {
    (void)gate.on_received(nth_address(n), sized_reply({60'000}), at(0));
    (void)gate.on_received(nth_address(n), part(0, 0, bytes_of(50'000, 1)), at(0));
    REQUIRE(gate.sizes().part_records <= 2 * kMaxPartRecords);
    REQUIRE(gate.sizes().part_bytes <= kMaxUnaskedPartBytes + 100'000);
    (void)gate.take_outgoing();
  }
  for (const ByteVector& p : parts_of(0, value, 9)) (void)gate.on_received(address(1), p, at(0));
  CHECK(gate.take_incoming().size() == 1);
}

TEST_CASE("fault A2: the gate holds a large answer until its ping comes back", "[dht]") {
  DhtGate gate(config());
  CHECK(gate.next_deadline() == kNever);
  REQUIRE(gate.on_received(address(1), get(1), at(0)).what == DhtReceived::What::kPass);
  Pack p = id_map(2, 0x42);
  const ByteVector answer = reply(p.str("x").bin(bytes_of(2000, 1)), 1);
  CHECK(gate.on_send(address(1), answer, at(0)).what == DhtSend::What::kHeld);
  auto out = gate.take_outgoing();
  REQUIRE(out.size() == 1);
  CHECK(out[0].address == address(1));
  DhtMessage ping;
  REQUIRE(walk_dht_message(out[0].bytes, ping) == DhtFault::kNone);
  CHECK(ping.kind == DhtKind::kPing);
  CHECK(to_hex(ping.id) == to_hex(node_id(0x42)));
  CHECK(gate.next_deadline() == at(3000));
  SECTION("it comes back") {
    CHECK(gate.on_received(address(1), reply(id_map(1), ping.tid), at(50)).what == DhtReceived::What::kTaken);
    out = gate.take_outgoing();
    REQUIRE(out.size() == 1);
    CHECK(out[0].bytes == answer);
    CHECK(gate.counters().pongs == 1);
    CHECK(gate.counters().sent == 1);
    CHECK(gate.sizes().proved == 1);
    CHECK(gate.next_deadline() == kNever);
    CHECK(gate.on_send(address(1), answer, at(60)).what == DhtSend::What::kSend);
  }
  SECTION("it does not") {
    gate.on_timeout(at(3000));
    CHECK(gate.take_outgoing().empty());
    CHECK(dropped(gate, DhtFault::kSendUnproved) == 1);
    CHECK(gate.sizes().held_bytes == 0);
  }
  SECTION("the network changes") {
    gate.on_network_changed(at(10));
    CHECK(gate.sizes().held_bytes == 0);
    CHECK(gate.next_deadline() == kNever);
  }
}

TEST_CASE("what OpenDHT sends and the walker cannot read is an answer, too", "[dht]") {
  DhtGate gate(config());
  (void)gate.on_received(address(1), get(1), at(0));
  CHECK(gate.on_send(address(1), bytes_of(2000, 0xc0), at(0)).what == DhtSend::What::kHeld);
}

TEST_CASE("each fault has a name of its own", "[dht]") {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kDhtFaults; ++i) {
    const std::string_view name = fault_name(static_cast<DhtFault>(i));
    CHECK(name != "unknown");
    CHECK(std::count(names.begin(), names.end(), name) == 0);
    names.push_back(name);
  }
}

namespace {

// RSA of 512 bits: a real key is not needed for what the gate looks at.
ByteVector small_key() {
  ByteVector out = from_hex_text("305a300d06092a864886f70d01010105000349003046024100");
  out.insert(out.end(), 64, 0xff);
  const ByteVector exponent = from_hex_text("020103");
  out.insert(out.end(), exponent.begin(), exponent.end());
  return out;
}

Pack signed_value(std::uint64_t id, std::size_t bytes, std::uint8_t fill = 1) {
  Pack p;
  p.map(2).str("id").uint(id).str("dat").map(2).str("body").map(4).str("seq").uint(1).str("owner").bin(small_key());
  p.str("type").uint(0).str("data").bin(bytes_of(bytes, fill)).str("sig").bin(bytes_of(64, 1));
  return p;
}

ByteVector put(const Pack& value, std::uint32_t tid = 1, std::uint8_t key = 5) {
  Pack p = id_map(3);
  return query("put", p.str("h").bin(node_id(key)).str("values").array(1).add(value), tid);
}

/// A certificate without bytes, which no node keeps, stands in the place of what is refused.
bool has_nothing(const DhtDatagram& put) {
  DhtMessage message;
  REQUIRE(walk_dht_message(put.bytes, message) == DhtFault::kNone);
  REQUIRE(message.whole.size() == message.values);
  return std::ranges::any_of(message.whole,
                             [](const DhtWholeValue& v) { return v.info.type == 8 && v.info.bytes() == 0; });
}

/// Whether the value of a put in one datagram passes.
bool value_passes(DhtGate& gate, const DhtAddress& from, const ByteVector& datagram, TimePoint now = at(0)) {
  if (gate.on_received(from, datagram, now).what == DhtReceived::What::kPass) return true;
  const auto whole = gate.take_incoming();
  REQUIRE(whole.size() == 1);
  CHECK(has_nothing(whole[0]));
  return false;
}

/// A value of a type that OpenDHT does not know.
Pack typed_value(std::uint16_t type, std::size_t bytes) {
  Pack p;
  p.map(2).str("id").uint(3).str("dat").map(1).str("body").map(2).str("type").uint(type).str("data");
  p.bin(bytes_of(bytes, 1));
  return p;
}

DhtAddress public_address() {
  DhtAddress out = address(1);
  out.ip = {203, 0, 113, 9};
  return out;
}
DhtAddress lan_address() {
  DhtAddress out = address(1);
  out.ip = {192, 168, 1, 9};
  return out;
}

}  // namespace

TEST_CASE("fault A1: no value without owner comes upon a signed one", "[dht]") {
  // OpenDHT compares their owners, and reads address 0.
  DhtGate gate(config());
  const auto value_passes = [&](const ByteVector& datagram) { return ::value_passes(gate, address(1), datagram); };
  REQUIRE(walk_dht_value(signed_value(7, 9).bytes) == DhtFault::kNone);
  CHECK(value_passes(put(plain_value(7, 9))));
  SECTION("that a stranger has put") {
    CHECK(value_passes(put(signed_value(7, 9))));
    CHECK_FALSE(value_passes(put(plain_value(7, 9))));
    CHECK_FALSE(value_passes(put(sealed_value(7, 9))));
    CHECK(value_passes(put(plain_value(8, 9))));
    CHECK(value_passes(put(signed_value(7, 9, 2))));
  }
  SECTION("that is our own") {
    (void)gate.on_send(address(2), put(signed_value(7, 9)), at(0));
    CHECK_FALSE(value_passes(put(plain_value(7, 9))));
  }
  SECTION("that is our own, and long") {
    const ByteVector value = signed_value(7, 3000).bytes;
    (void)gate.on_send(address(2), put(Pack().uint(value.size())), at(0));
    for (const ByteVector& p : parts_of(0, value, 1)) (void)gate.on_send(address(2), p, at(0));
    CHECK_FALSE(value_passes(put(plain_value(7, 9))));
  }
  SECTION("that came while it waited for the parts of another") {
    const ByteVector other = plain_value(8, 3000).bytes;
    Pack p = id_map(3);
    p.str("h").bin(node_id(5)).str("values").array(2).add(plain_value(7, 9)).uint(other.size());
    REQUIRE(gate.on_received(address(1), query("put", p, 1), at(0)).what == DhtReceived::What::kTaken);
    CHECK(value_passes(put(signed_value(7, 9), 2)));
    for (const ByteVector& more : parts_of(1, other, 1)) (void)gate.on_received(address(1), more, at(0));
    const auto whole = gate.take_incoming();
    REQUIRE(whole.size() == 1);
    CHECK(has_nothing(whole[0]));
    CHECK(gate.counters().refused_values == 1);
  }
  SECTION("that comes in parts before it, in one message") {
    const ByteVector owned = signed_value(7, 3000).bytes;
    Pack p = id_map(3);
    p.str("h").bin(node_id(5)).str("values").array(2).uint(owned.size()).add(plain_value(7, 9));
    REQUIRE(gate.on_received(address(1), query("put", p, 1), at(0)).what == DhtReceived::What::kTaken);
    for (const ByteVector& more : parts_of(0, owned, 1)) (void)gate.on_received(address(1), more, at(0));
    const auto whole = gate.take_incoming();
    REQUIRE(whole.size() == 1);
    CHECK(as_text(whole[0].bytes).find("sig") != std::string_view::npos);
    CHECK(has_nothing(whole[0]));
  }
  SECTION("that is our own, and was sent to nobody") {
    // Its id can be asked for alone: nothing that is sent tells the gate that it is signed.
    DhtGateConfig with_own = config();
    with_own.signed_ids = {7};
    DhtGate other(with_own);
    CHECK(other.on_received(address(1), put(plain_value(7, 9)), at(0)).what == DhtReceived::What::kTaken);
    const auto whole = other.take_incoming();
    REQUIRE(whole.size() == 1);
    CHECK(has_nothing(whole[0]));
    CHECK(other.on_received(address(1), put(plain_value(8, 9)), at(0)).what == DhtReceived::What::kPass);
    const auto years = at(0) + 1000 * kSignedIdTime;
    CHECK(other.on_received(address(1), put(sealed_value(7, 9)), years).what == DhtReceived::What::kTaken);
  }
  SECTION("either in parts") {
    const auto whole_of = [&](const ByteVector& value, std::uint32_t tid) {
      REQUIRE(gate.on_received(address(1), put(Pack().uint(value.size()), tid), at(0)).what ==
              DhtReceived::What::kTaken);
      for (const ByteVector& p : parts_of(0, value, tid)) (void)gate.on_received(address(1), p, at(0));
      const auto whole = gate.take_incoming();
      REQUIRE(whole.size() == 1);
      return !has_nothing(whole[0]);
    };
    CHECK(whole_of(signed_value(7, 3000).bytes, 1));
    CHECK_FALSE(whole_of(plain_value(7, 3000).bytes, 2));
  }
}

TEST_CASE("fault A1: nothing without bytes is put, and no signed value in the place of one of another length",
          "[dht]") {
  // OpenDHT frees its account of who keeps how much when its sum is 0, and uses it afterwards.
  DhtGate gate(config());
  CHECK(value_passes(gate, address(1), put(plain_value(1, 1))));
  CHECK_FALSE(value_passes(gate, address(1), put(plain_value(2, 0))));
  CHECK_FALSE(value_passes(gate, address(1), put(sealed_value(2, 0))));
  CHECK(value_passes(gate, address(1), put(signed_value(3, 0))));

  CHECK(value_passes(gate, address(1), put(signed_value(7, 100))));
  CHECK(value_passes(gate, address(1), put(signed_value(7, 100))));
  CHECK(value_passes(gate, address(1), put(signed_value(7, 100, 2))));
  CHECK_FALSE(value_passes(gate, address(1), put(signed_value(7, 101))));
  CHECK_FALSE(value_passes(gate, address(2), put(signed_value(7, 99))));
  // Under another key it is another value.
  CHECK(value_passes(gate, address(1), put(signed_value(7, 101), 1, 6)));
  // What was put within the last days may be there still.
  CHECK_FALSE(value_passes(gate, address(1), put(signed_value(7, 101)), at(0) + kSignedIdTime));
  CHECK(value_passes(gate, address(1), put(signed_value(7, 101)), at(0) + 3 * kSignedIdTime));
}

TEST_CASE("fault A1: what stands in the place of a value comes upon no signed one", "[dht]") {
  DhtGate gate(config());
  const auto id_of_nothing = [&](const ByteVector& datagram) {
    REQUIRE(gate.on_received(address(1), datagram, at(0)).what == DhtReceived::What::kTaken);
    const auto whole = gate.take_incoming();
    REQUIRE(whole.size() == 1);
    DhtMessage message;
    REQUIRE(walk_dht_message(whole[0].bytes, message) == DhtFault::kNone);
    REQUIRE(message.whole.size() == 1);
    CHECK_FALSE(message.whole[0].info.owned);
    return message.whole[0].info.id;
  };
  CHECK(id_of_nothing(put(plain_value(7, 0))) == 7);
  CHECK(id_of_nothing(put(plain_value(0, 0))) != 0);
  REQUIRE(value_passes(gate, address(1), put(signed_value(7, 9))));
  CHECK(id_of_nothing(put(plain_value(7, 0))) != 7);
  CHECK(id_of_nothing(put(plain_value(7, 9))) != 7);
  CHECK(id_of_nothing(put(signed_value(7, 10))) != 7);
}

TEST_CASE("fault A1: lengths of signed values are bounded, and what is forgotten is not put", "[dht]") {
  DhtSignedIds ids(counting_random());
  const ByteVector key = node_id(5);
  const auto alike = [&](std::uint32_t data) {
    std::size_t count = 0;
    for (std::uint64_t id = 0; id < 2 * kMaxSignedLengths; ++id) {
      count += ids.add_alike(key, id, {data, 64, 0}, at(0)) ? 1U : 0U;
    }
    return count;
  };
  // Some are taken for others, which is on the safe side.
  CHECK(alike(1) > 2 * kMaxSignedLengths * 97 / 100);
  CHECK(alike(2) == 0);
  CHECK(alike(1) == kMaxSignedLengths);
}

TEST_CASE("fault A2: what is kept for others is small whatever its type is", "[dht]") {
  DhtGateConfig rules = config();
  rules.keep.max_value_bytes = 16'384;
  rules.keep.own_keys.emplace_back().fill(6);
  DhtGate gate(rules);
  for (const std::uint16_t type : {std::uint16_t{0}, std::uint16_t{8}, std::uint16_t{4711}}) {
    CHECK(value_passes(gate, address(1), put(typed_value(type, 16'384))));
    CHECK_FALSE(value_passes(gate, address(1), put(typed_value(type, 16'385))));
  }
  CHECK_FALSE(value_passes(gate, address(1), put(sealed_value(4, 16'385))));

  SECTION("what comes in parts, too") {
    const ByteVector value = typed_value(4711, 16'385).bytes;
    REQUIRE(gate.on_received(address(1), put(Pack().uint(value.size())), at(0)).what == DhtReceived::What::kTaken);
    for (const ByteVector& p : parts_of(0, value, 1)) (void)gate.on_received(address(1), p, at(0));
    const auto whole = gate.take_incoming();
    REQUIRE(whole.size() == 1);
    CHECK(has_nothing(whole[0]));
  }
  SECTION("what is for us is not kept, and may be as long as any") {
    CHECK(value_passes(gate, address(1), put(sealed_value(4, 60'000), 1, 6)));
    CHECK(value_passes(gate, address(1), put(typed_value(0, 60'000), 1, 6)));
    CHECK_FALSE(value_passes(gate, address(1), put(typed_value(4711, 60'000), 1, 6)));
  }
}

TEST_CASE("fault A2: a node that keeps nothing for others keeps nothing of any type", "[dht]") {
  DhtGateConfig rules = config();
  rules.keep.nothing = true;
  rules.keep.own_keys.emplace_back().fill(6);
  DhtGate gate(rules);
  for (const std::uint16_t type : {std::uint16_t{0}, std::uint16_t{8}, std::uint16_t{4711}}) {
    CHECK_FALSE(value_passes(gate, public_address(), put(typed_value(type, 10))));
    CHECK(value_passes(gate, lan_address(), put(typed_value(type, 10))));
  }
  CHECK(value_passes(gate, public_address(), put(sealed_value(4, 10), 1, 6)));
  CHECK_FALSE(value_passes(gate, public_address(), put(typed_value(4711, 10), 1, 6)));
  CHECK(gate.counters().refused_values == 4);
  CHECK(gate.counters().bad_values == 0);
}

TEST_CASE("addresses of networks of one's own", "[dht]") {
  const auto v4 = [](std::uint8_t a, std::uint8_t b) {
    DhtAddress out;
    out.ip = {a, b, 1, 1};
    return out;
  };
  for (const auto& own : {v4(10, 0), v4(127, 0), v4(172, 16), v4(172, 31), v4(192, 168), v4(169, 254)}) {
    CHECK(is_private(own));
  }
  for (const auto& other : {v4(11, 0), v4(172, 15), v4(172, 32), v4(192, 169), v4(169, 253), v4(203, 0)}) {
    CHECK_FALSE(is_private(other));
  }
  DhtAddress v6;
  v6.family = DhtAddress::Family::kIpv6;
  CHECK_FALSE(is_private(v6));
  v6.ip[15] = 1;
  CHECK(is_private(v6));
  v6.ip[0] = 0x20;
  CHECK_FALSE(is_private(v6));
  v6.ip[0] = 0xfd;
  CHECK(is_private(v6));
  v6.ip[0] = 0xfe;
  v6.ip[1] = 0x80;
  CHECK(is_private(v6));
}
