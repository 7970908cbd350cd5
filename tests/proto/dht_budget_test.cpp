// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_budget.h"

#include <catch2/catch.hpp>

#include "tests/proto/dht_messages.h"

using namespace connd::proto;
using namespace connd::proto::test;

namespace {

using Fate = DhtBudget::Fate;
using Seen = DhtBudget::Seen;

DhtBudget::Config config() {
  DhtBudget::Config out;
  out.node_id.fill(0x42);
  out.random = counting_random();
  return out;
}

constexpr std::size_t kPingBytes = 54;

/// A budget, and what has gone to each side.
class Node {
 public:
  DhtBudget budget{config()};
  std::size_t came = 0;
  std::size_t went = 0;
  std::vector<ByteVector> released;
  std::vector<std::uint32_t> pings;  ///< their transaction ids

  Seen receive(Bytes datagram, const DhtAddress& from = address(1), TimePoint now = at(0)) {
    DhtMessage message;
    REQUIRE(walk_dht_message(datagram, message) == DhtFault::kNone);
    came += datagram.size();
    const Seen seen = budget.on_received(from, message, datagram.size(), now);
    take_output();
    return seen;
  }
  Fate send(Bytes datagram, const DhtAddress& to = address(1), TimePoint now = at(0)) {
    DhtMessage message;
    const bool in_order = walk_dht_message(datagram, message) == DhtFault::kNone;
    const DhtBudget::Decision decision = budget.on_send(to, datagram, in_order ? &message : nullptr, now);
    if (decision.fate == Fate::kSend) went += datagram.size();
    fault = decision.fault;
    take_output();
    return decision.fate;
  }
  void take_output() {
    for (DhtBudget::Output& output : budget.take_output()) {
      went += output.datagram.bytes.size();
      if (output.is_ping) {
        DhtMessage message;
        REQUIRE(walk_dht_message(output.datagram.bytes, message) == DhtFault::kNone);
        REQUIRE(message.kind == DhtKind::kPing);
        pings.push_back(message.tid);
      } else {
        released.push_back(std::move(output.datagram.bytes));
      }
    }
  }
  /// The address asks, is answered with too much, and proves itself.
  void prove(const DhtAddress& who = address(1), TimePoint now = at(0)) {
    receive(get(), who, now);
    REQUIRE(send(answer(2000), who, now) == Fate::kHold);
    REQUIRE_FALSE(pings.empty());
    REQUIRE(receive(reply(id_map(1), pings.back()), who, now) == Seen::kPong);
    REQUIRE(budget.is_proved(who, now));
  }

  static ByteVector get() {
    Pack p = id_map(2);
    return query("get", p.str("h").bin(node_id(5)), 1);
  }
  static ByteVector find(std::uint32_t tid) {
    Pack p = id_map(2, 0x42);
    return query("find", p.str("target").bin(node_id(5)), tid);
  }
  static ByteVector answer(std::size_t more, std::uint32_t tid = 1) {
    Pack p = id_map(2, 0x42);
    return reply(p.str("x").bin(bytes_of(more, 7)), tid);
  }
  static ByteVector put(std::size_t bytes, std::uint32_t tid = 1) {
    Pack p = id_map(2, 0x42);
    return query("put", p.str("values").array(1).add(plain_value(1, bytes)), tid);
  }

  DhtFault fault = DhtFault::kNone;
};

}  // namespace

TEST_CASE("fault A2: at most three times what came goes to an address without proof", "[dht]") {
  Node node;
  node.receive(Node::get());
  SECTION("a small answer goes at once") {
    CHECK(node.send(Node::answer(20)) == Fate::kSend);
    CHECK(node.pings.empty());
  }
  SECTION("a large one waits for a ping that comes back") {
    const ByteVector large = Node::answer(1000);
    CHECK(node.send(large) == Fate::kHold);
    REQUIRE(node.pings.size() == 1);
    CHECK(node.went == kPingBytes);
    // Any other answer is none.
    CHECK(node.receive(reply(id_map(1), node.pings[0] + 1)) == Seen::kOther);
    CHECK(node.receive(reply(id_map(1), node.pings[0]), address(2)) == Seen::kOther);
    CHECK(node.released.empty());
    CHECK(node.receive(reply(id_map(1), node.pings[0])) == Seen::kPong);
    REQUIRE(node.released.size() == 1);
    CHECK(node.released[0] == large);
    CHECK(node.budget.held_bytes() == 0);
    // From then on nothing waits; the same answer again is not for OpenDHT either.
    CHECK(node.send(large) == Fate::kSend);
    CHECK(node.receive(reply(id_map(1), node.pings[0])) == Seen::kPong);
  }
  SECTION("whatever is asked and answered, without an answer to the ping") {
    for (int i = 0; i < 500; ++i) {
      const TimePoint now = at(i * 100);
      if (i % 3 == 0) node.receive(Node::get(), address(1), now);
      (void)node.send(Node::answer(static_cast<std::size_t>(i) * 7 % 400), address(1), now);
      (void)node.send(Node::find(static_cast<std::uint32_t>(i)), address(1), now);
      node.budget.on_timeout(now);
      node.take_output();
      REQUIRE(node.went <= 3 * node.came);
    }
    CHECK(node.went > node.came);
    CHECK(node.pings.size() > 1);
  }
}

TEST_CASE("fault A2: a message and its parts share one fate", "[dht]") {
  Node node;
  const ByteVector value = plain_value(1, 3000).bytes;
  std::vector<ByteVector> all = {sized_reply({value.size()}, 1)};
  for (ByteVector& p : parts_of(0, value, 1)) all.push_back(std::move(p));
  REQUIRE(all.size() == 4);
  node.receive(Node::get());
  SECTION("held, and released in order") {
    for (const ByteVector& datagram : all) CHECK(node.send(datagram) == Fate::kHold);
    node.receive(reply(id_map(1), node.pings.at(0)));
    CHECK(node.released == all);
  }
  SECTION("the proof comes in between") {
    CHECK(node.send(all[0]) == Fate::kHold);
    CHECK(node.send(all[1]) == Fate::kHold);
    node.receive(reply(id_map(1), node.pings.at(0)));
    CHECK(node.released.size() == 2);
    CHECK(node.send(all[2]) == Fate::kSend);
    CHECK(node.send(all[3]) == Fate::kSend);
  }
  SECTION("too much to be held: none of it is, and the address is asked all the same") {
    const std::vector<std::size_t> sizes(24, 60'000);
    CHECK(node.send(sized_reply(sizes, 1)) == Fate::kDrop);
    CHECK(node.fault == DhtFault::kSendNoRoom);
    CHECK(node.send(part(0, 0, bytes_of(20, 1), 1)) == Fate::kDrop);
    REQUIRE(node.pings.size() == 1);
    // It asks again, as OpenDHT does after a second.
    node.receive(reply(id_map(1), node.pings[0]));
    node.receive(Node::get(), address(1), at(1000));
    CHECK(node.send(sized_reply(sizes, 1), address(1), at(1000)) == Fate::kSend);
    for (std::uint32_t i = 0; i < 24 * 47; ++i) {
      REQUIRE(node.send(part(i / 47, 1280 * (i % 47), bytes_of(1280, 1), 1), address(1), at(1000)) == Fate::kSend);
    }
  }
  SECTION("what waited too long is gone, and its parts with it") {
    CHECK(node.send(all[0]) == Fate::kHold);
    CHECK(node.budget.next_deadline() == at(3000));
    node.budget.on_timeout(at(2999));
    CHECK(node.budget.held_bytes() > 0);
    node.budget.on_timeout(at(3000));
    CHECK(node.budget.held_bytes() == 0);
    CHECK(node.budget.next_deadline() == kNever);
    CHECK(node.budget.take_dropped().unproved == 1);
    CHECK(node.send(all[1], address(1), at(3000)) == Fate::kDrop);
    CHECK(node.fault == DhtFault::kSendUnproved);
  }
}

TEST_CASE("our own small requests go to whom we speak first", "[dht]") {
  Node node;
  for (std::uint32_t tid = 1; tid < 100; ++tid) REQUIRE(node.send(Node::find(tid)) == Fate::kSend);
  CHECK(node.pings.empty());
  SECTION("and its answer is known by its id") {
    CHECK(node.receive(reply(id_map(1), 200)) == Seen::kOther);
    CHECK(node.receive(reply(id_map(1), 99)) == Seen::kAnswer);
    CHECK(node.receive(reply(id_map(1), 99), address(2)) == Seen::kOther);
  }
  SECTION("who gives us a token is about to get values: the proof is begun at once") {
    Pack p = id_map(2);
    node.receive(reply(p.str("token").bin(bytes_of(32, 1)), 99));
    REQUIRE(node.pings.size() == 1);
    // Values wait for it, all the same.
    const ByteVector put = Node::put(1200);
    CHECK(node.send(put) == Fate::kHold);
    CHECK(node.pings.size() == 1);
    node.receive(reply(id_map(1), node.pings[0]));
    CHECK(node.released == std::vector<ByteVector>{put});
    CHECK(node.receive(reply(id_map(1), 98)) == Seen::kAnswer);
  }
}

TEST_CASE("fault A2: a transaction id of OpenDHT's is no proof", "[dht]") {
  // They count upwards, and a node that is said to have moved is asked with the next one at its new address.
  Node node;
  node.receive(Node::get());
  REQUIRE(node.send(Node::find(5)) == Fate::kSend);
  CHECK(node.receive(reply(id_map(1), 5)) == Seen::kAnswer);
  CHECK_FALSE(node.budget.is_proved(address(1), at(0)));
  CHECK(node.send(Node::put(3000)) == Fate::kHold);
}

TEST_CASE("fault A2: requests to who spoke first stay within what came", "[dht]") {
  Node node;
  node.receive(Node::get());
  std::size_t sent = 0;
  for (std::uint32_t tid = 1; tid < 20; ++tid) sent += node.send(Node::find(tid)) == Fate::kSend ? 1 : 0;
  CHECK(sent == 2);
  CHECK(node.went <= 3 * node.came);
  // The first answer shows that it is one to speak with.
  node.receive(reply(id_map(1), 1));
  CHECK(node.send(Node::find(60)) == Fate::kSend);
  CHECK(node.send(Node::find(61)) == Fate::kSend);
}

TEST_CASE("a ping that got lost is sent again, ever more seldom", "[dht]") {
  Node node;
  node.send(Node::find(1));
  node.receive(reply(id_map(1), 1));
  std::vector<std::int64_t> times;
  for (std::int64_t ms = 0; ms < 300'000; ms += 500) {
    const std::size_t before = node.pings.size();
    (void)node.send(Node::answer(3000), address(1), at(ms));
    node.budget.on_timeout(at(ms));
    if (node.pings.size() > before) times.push_back(ms);
  }
  CHECK(times == std::vector<std::int64_t>{0, 1000, 3000, 7000, 15'000, 31'000, 63'000, 127'000, 191'000, 255'000});
  // The second was the first again, and then there were others.
  CHECK(node.pings[0] == node.pings[1]);
  CHECK(node.pings[1] != node.pings[2]);
}

TEST_CASE("fault A2: who guesses has few tries", "[dht]") {
  Node node;
  node.send(Node::find(1));
  node.receive(reply(id_map(1), 1));
  node.send(Node::answer(3000));
  REQUIRE(node.pings.size() == 1);
  for (std::uint32_t i = 1; i <= kMaxWrongPongs; ++i) node.receive(reply(id_map(1), node.pings[0] + i));
  CHECK(node.receive(reply(id_map(1), node.pings[0])) == Seen::kOther);
  CHECK_FALSE(node.budget.is_proved(address(1), at(0)));
  // With the next there is another chance.
  node.send(Node::answer(3000), address(1), at(1000));
  REQUIRE(node.pings.size() == 2);
  CHECK(node.receive(reply(id_map(1), node.pings[1]), address(1), at(1000)) == Seen::kPong);
}

TEST_CASE("a proof ends, and is renewed", "[dht]") {
  Node node;
  node.prove();
  const TimePoint end = at(0) + kProvedTime;
  CHECK(node.send(Node::answer(3000), address(1), end - Duration(1)) == Fate::kSend);
  const std::size_t pings = node.pings.size();
  CHECK(node.send(Node::answer(3000), address(1), end) == Fate::kHold);
  // Whatever it has to its credit: it was there.
  REQUIRE(node.pings.size() == pings + 1);
  CHECK(node.receive(reply(id_map(1), node.pings.back()), address(1), end) == Seen::kPong);
  CHECK(node.send(Node::answer(3000), address(1), end) == Fate::kSend);
}

TEST_CASE("fault A2: bytes to one destination are limited behind the proof", "[dht]") {
  Node node;
  node.prove();
  const ByteVector answer = Node::answer(1000);
  const std::size_t size = answer.size();
  std::size_t sent = 0;
  while (node.send(answer) == Fate::kSend) ++sent;
  CHECK(node.fault == DhtFault::kSendRate);
  CHECK(sent * size <= kSendBurstBytes);
  CHECK(sent * size > kSendBurstBytes - 4000);
  // Thirty-two chains of 8 kB are an eighth of it.
  CHECK(kSendBurstBytes >= 8 * 32 * 8'192);
  SECTION("another port of the same host has no more") {
    node.prove(address(1, 5));
    CHECK(node.send(answer, address(1, 5)) == Fate::kDrop);
  }
  SECTION("another host has its own") {
    node.prove(address(9));
    CHECK(node.send(answer, address(9)) == Fate::kSend);
  }
  SECTION("small requests go") {
    CHECK(node.send(Node::find(1)) == Fate::kSend);
  }
  SECTION("it comes back by time") {
    std::size_t later = 0;
    while (node.send(answer, address(1), at(1000)) == Fate::kSend) ++later;
    CHECK(later * size <= kSendBytesPerSecond + size);
    CHECK(later * size > kSendBytesPerSecond - 2 * size);
  }
}

TEST_CASE("fault A2: floods of forged addresses are bounded, and shut nobody out", "[dht]") {
  Node node;
  node.prove(address(1));
  for (std::uint32_t n = 0; n < 3 * kMaxUnproved; ++n) {
    node.receive(Node::get(), nth_address(n));
    (void)node.send(Node::answer(3000), nth_address(n));
    REQUIRE(node.budget.unproved() <= kMaxUnproved);
    REQUIRE(node.budget.held_bytes() <= kMaxHeldDhtBytes);
  }
  CHECK(node.went <= 3 * node.came + 6000);
  CHECK(node.budget.is_proved(address(1), at(0)));
  // Somebody new is answered in the middle of it.
  node.prove(address(2));
  CHECK(node.send(Node::answer(3000), address(2)) == Fate::kSend);
}

TEST_CASE("who has a network of his own replaces his own proofs", "[dht]") {
  Node node;
  node.prove(address(1));
  for (std::uint16_t port = 1; port <= 2 * kMaxProvedOfPrefix; ++port) {
    DhtAddress flooder = nth_address(port % 200U);
    flooder.port = port;
    node.prove(flooder);
  }
  CHECK(node.budget.proved() == kMaxProvedOfPrefix + 1);
  CHECK(node.budget.is_proved(address(1), at(0)));
  SECTION("and all networks together are bounded") {
    for (std::uint32_t n = 0; n < kMaxProved + 500; ++n) node.prove(nth_address(n * 256));
    CHECK(node.budget.proved() == kMaxProved);
  }
}

TEST_CASE("what is held for one address is bounded", "[dht]") {
  Node node;
  node.receive(Node::get());
  int held = 0;
  while (node.send(Node::answer(5000)) == Fate::kHold) ++held;
  CHECK(node.fault == DhtFault::kSendNoRoom);
  CHECK(held == static_cast<int>(kMaxHeldBytesOfAddress / Node::answer(5000).size()));
  node.budget.drop_held();
  CHECK(node.budget.held_bytes() == 0);
  CHECK(node.send(Node::answer(5000)) == Fate::kHold);
}
