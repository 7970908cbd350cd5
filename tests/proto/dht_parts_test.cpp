// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_parts.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/proto/dht_messages.h"

using namespace connd::proto;
using namespace connd::proto::test;

namespace {

constexpr DhtParts::Room kRoom{kMaxAskedPartBytes, kMaxAskedPartBytesOfAddress};

DhtMessage walked(Bytes datagram) {
  DhtMessage message;
  REQUIRE(walk_dht_message(datagram, message) == DhtFault::kNone);
  return message;
}

class Node {
 public:
  DhtParts parts{counting_random(), kRoom};
  DhtFault give(Bytes datagram, const DhtAddress& from = address(1), TimePoint now = at(0)) {
    const DhtMessage message = walked(datagram);
    return message.kind == DhtKind::kValueData ? parts.add(from, message, now)
                                               : parts.open(from, datagram, message, now);
  }
};

/// What `whole` says, which must be in order and have no sizes left.
DhtMessage whole_message(const DhtDatagram& whole) {
  DhtMessage message = walked(whole.bytes);
  CHECK(message.sized.empty());
  CHECK(message.bad_values.empty());
  return message;
}

}  // namespace

TEST_CASE("a value in parts becomes one in its message", "[dht]") {
  Node node;
  const ByteVector value = plain_value(5, 3000).bytes;
  REQUIRE(node.give(sized_reply({value.size()})) == DhtFault::kNone);
  CHECK(node.parts.records() == 1);
  const auto parts = parts_of(0, value);
  REQUIRE(parts.size() == 3);
  for (const ByteVector& p : parts) {
    CHECK(node.parts.take_complete().empty());
    REQUIRE(node.give(p) == DhtFault::kNone);
  }
  const auto whole = node.parts.take_complete();
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].address == address(1));
  Pack expected = id_map(2);
  expected.str("values").array(1).add(value);
  CHECK(to_hex(whole[0].bytes) == to_hex(reply(expected)));
  CHECK(node.parts.records() == 0);
  CHECK(node.parts.bytes() == 0);
  CHECK(node.parts.next_deadline() == kNever);
}

TEST_CASE("values of one message come in any order, the parts of each in theirs", "[dht]") {
  const ByteVector a = plain_value(1, 700, 1).bytes;
  const ByteVector b = sealed_value(2, 1290).bytes;
  const ByteVector c = plain_value(3, 2000, 3).bytes;
  std::vector<ByteVector> all;
  std::uint32_t index = 0;
  for (const ByteVector& value : {a, b, c}) {
    for (ByteVector& p : parts_of(index, value)) all.push_back(std::move(p));
    ++index;
  }
  REQUIRE(all.size() == 5);
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  int made = 0;
  do {
    Node node;
    REQUIRE(node.give(sized_reply({a.size(), b.size(), c.size()})) == DhtFault::kNone);
    for (const std::size_t i : order) (void)node.give(all[i]);
    // Parts 1 and 2 are of b, 3 and 4 of c.
    const auto place = [&](std::size_t i) { return std::find(order.begin(), order.end(), i) - order.begin(); };
    const bool in_order = place(1) < place(2) && place(3) < place(4);
    const auto whole = node.parts.take_complete();
    CHECK(whole.size() == (in_order ? 1U : 0U));
    if (!whole.empty()) {
      CHECK(whole_message(whole[0]).values == 3);
      ++made;
    }
    // What was lost comes again, with the message; then it is whole.
    if (!in_order) {
      REQUIRE(node.give(sized_reply({a.size(), b.size(), c.size()})) == DhtFault::kNone);
      for (const ByteVector& p : all) (void)node.give(p);
      REQUIRE(node.parts.take_complete().size() == 1);
    }
  } while (std::next_permutation(order.begin(), order.end()));
  CHECK(made == 30);
}

TEST_CASE("fault A1: parts that nobody announced are nobody's", "[dht]") {
  Node node;
  const ByteVector value = plain_value(1, 3000).bytes;
  const auto parts = parts_of(0, value);
  CHECK(node.give(parts[0]) == DhtFault::kStrayPart);
  REQUIRE(node.give(sized_reply({value.size()})) == DhtFault::kNone);
  CHECK(node.give(parts[0], address(2)) == DhtFault::kStrayPart);
  CHECK(node.give(parts[0], address(1, 1)) == DhtFault::kStrayPart);
  CHECK(node.give(part(0, 0, bytes_of(10, 1), 8)) == DhtFault::kStrayPart);
  CHECK(node.give(part(1, 0, bytes_of(10, 1))) == DhtFault::kStrayPart);
  CHECK(node.give(parts[1]) == DhtFault::kStrayPart);
  CHECK(node.give(part(0, 0, bytes_of(value.size() + 1, 1))) == DhtFault::kStrayPart);
  REQUIRE(node.give(parts[0]) == DhtFault::kNone);
  CHECK(node.give(parts[0]) == DhtFault::kStrayPart);
  CHECK(node.parts.take_complete().empty());
}

TEST_CASE("fault A1: what is put together is walked, and cut out when it is no value", "[dht]") {
  Node node;
  const ByteVector good = plain_value(1, 700).bytes;
  ByteVector bad = plain_value(2, 700).bytes;
  bad[0] = 0x92;  // an array of the same
  Pack answer = id_map(2);
  answer.str("values").array(4).uint(bad.size()).add(sealed_value(9, 10)).uint(good.size()).str("?");
  REQUIRE(node.give(reply(answer)) == DhtFault::kNone);
  REQUIRE(node.give(part(0, 0, bad)) == DhtFault::kNone);
  REQUIRE(node.give(part(2, 0, good)) == DhtFault::kNone);
  const auto whole = node.parts.take_complete();
  REQUIRE(whole.size() == 1);
  Pack expected = id_map(2);
  expected.str("values").array(4).raw({0xc0}).add(sealed_value(9, 10)).add(good).raw({0xc0});
  CHECK(to_hex(whole[0].bytes) == to_hex(reply(expected)));
  CHECK(node.parts.bad_values() == 1);
}

TEST_CASE("fault A6: long values take no room from short ones that come behind them", "[dht]") {
  Node node;
  const ByteVector chain = plain_value(7, 4000).bytes;
  std::vector<std::size_t> sizes(kMaxDhtAssembledValues / 60'000 + 1, 60'000);
  sizes.push_back(chain.size());
  REQUIRE(node.give(sized_reply(sizes)) == DhtFault::kNone);
  CHECK(node.parts.bad_values() == 1);
  for (const ByteVector& p : parts_of(static_cast<std::uint32_t>(sizes.size() - 1), chain)) {
    CHECK(node.give(p) == DhtFault::kNone);
  }
}

TEST_CASE("no more than so many bytes are put together", "[dht]") {
  Node node;
  const std::vector<std::size_t> sizes(40, 64'000);
  REQUIRE(node.give(sized_reply(sizes)) == DhtFault::kNone);
  const std::size_t taken = kMaxDhtAssembledValues / 64'000;
  CHECK(node.parts.bad_values() == 40 - taken);
  const ByteVector value = plain_value(1, 64'000 - 40).bytes;
  for (std::uint32_t i = 0; i < 40; ++i) {
    ByteVector padded = value;
    padded.resize(64'000, 0xc0);
    for (std::size_t offset = 0; offset < padded.size(); offset += 32'000) {
      CHECK(node.give(part(i, offset, Bytes(padded).subspan(offset, 32'000))) ==
            (i < taken ? DhtFault::kNone : DhtFault::kStrayPart));
    }
  }
  const auto whole = node.parts.take_complete();
  REQUIRE(whole.size() == 1);
  // Bytes stood behind each value: none of them was one.
  CHECK(whole_message(whole[0]).values == 40);
}

TEST_CASE("parts that do not come are not waited for", "[dht]") {
  Node node;
  REQUIRE(node.give(sized_reply({5000}), address(1), at(0)) == DhtFault::kNone);
  CHECK(node.parts.next_deadline() == at(3000));
  REQUIRE(node.give(part(0, 0, bytes_of(1280, 1)), address(1), at(2000)) == DhtFault::kNone);
  node.parts.on_timeout(at(3000));
  CHECK(node.parts.records() == 1);
  CHECK(node.parts.next_deadline() == at(5000));
  node.parts.on_timeout(at(4999));
  CHECK(node.parts.records() == 1);
  node.parts.on_timeout(at(5000));
  CHECK(node.parts.records() == 0);
  CHECK(node.parts.bytes() == 0);
  CHECK(node.parts.next_deadline() == kNever);

  SECTION("nor for ever, one byte at a time") {
    REQUIRE(node.give(sized_reply({5000}), address(1), at(10'000)) == DhtFault::kNone);
    for (int i = 0; i < 10; ++i) {
      (void)node.give(part(0, static_cast<std::size_t>(i), bytes_of(1, 1)), address(1), at(10'000 + 1000 * i));
      node.parts.on_timeout(at(10'000 + 1000 * i));
    }
    CHECK(node.parts.records() == 1);
    node.parts.on_timeout(at(20'000));
    CHECK(node.parts.records() == 0);
  }
}

TEST_CASE("a flood of announcements and parts is bounded", "[dht]") {
  Node node;
  SECTION("of one sender") {
    std::size_t refused = 0;
    for (std::uint32_t tid = 0; tid < 1000; ++tid) {
      refused += node.give(sized_reply({60'000, 60'000}, tid)) == DhtFault::kPartNoRoom ? 1 : 0;
      for (std::size_t offset = 0; offset < 60'000; offset += 20'000) {
        (void)node.give(part(0, offset, bytes_of(20'000, 1), tid));
      }
      REQUIRE(node.parts.records() <= kMaxPartRecordsOfAddress);
      REQUIRE(node.parts.bytes() <= kMaxAskedPartBytesOfAddress + 60'000);
    }
    CHECK(refused > 900);
  }
  SECTION("of many senders, who do not shut out another") {
    int whole = 0;
    const ByteVector value = plain_value(1, 3000).bytes;
    for (std::uint32_t round = 0; round < 200; ++round) {
      REQUIRE(node.give(sized_reply({value.size()}, round), address(1)) == DhtFault::kNone);
      // Twenty others between each of its parts.
      std::uint32_t n = 0;
      for (const ByteVector& p : parts_of(0, value, round)) {
        for (int i = 0; i < 20; ++i) (void)node.give(sized_reply({60'000}), nth_address(round * 100 + n++));
        (void)node.give(p, address(1));
      }
      whole += static_cast<int>(node.parts.take_complete().size());
      REQUIRE(node.parts.records() <= kMaxPartRecords);
    }
    CHECK(whole > 150);
  }
  SECTION("of bytes") {
    for (std::uint32_t n = 0; n < 400; ++n) {
      (void)node.give(sized_reply({65'000, 65'000}), nth_address(n));
      (void)node.give(part(0, 0, bytes_of(60'000, 1)), nth_address(n));
      REQUIRE(node.parts.bytes() <= kMaxAskedPartBytes + 60'200);
    }
    CHECK(node.parts.bytes() > kMaxAskedPartBytes / 2);
    node.parts.clear();
    CHECK(node.parts.bytes() == 0);
  }
}

TEST_CASE("another message of the same id takes the place of the first", "[dht]") {
  Node node;
  REQUIRE(node.give(sized_reply({5000})) == DhtFault::kNone);
  REQUIRE(node.give(part(0, 0, bytes_of(1280, 1))) == DhtFault::kNone);
  const ByteVector value = plain_value(1, 700).bytes;
  REQUIRE(node.give(sized_reply({value.size()})) == DhtFault::kNone);
  CHECK(node.parts.records() == 1);
  REQUIRE(node.give(part(0, 0, value)) == DhtFault::kNone);
  CHECK(node.parts.take_complete().size() == 1);
}
