// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_discovery.h"

#include <catch2/catch.hpp>

#include "tests/proto/dht_messages.h"

using namespace connd::proto;
using namespace connd::proto::test;

namespace {

struct Walked {
  DhtFault fault;
  std::optional<DhtAnnouncement> announcement;
};

Walked walk(Bytes datagram) {
  Walked out{};
  out.fault = walk_dht_discovery(datagram, out.announcement);
  return out;
}

Pack announcement() {
  return Pack().array(3).bin(node_id(0x12)).uint(4222).uint(7);
}

}  // namespace

TEST_CASE("an announcement on the LAN is read as OpenDHT 2.4.12 sends it", "[dht]") {
  const Walked walked = walk(from_hex_text("81a364687493c4140e553cd6ae3d4bf54f489d7a5119c299da5b3379cd303907"));
  REQUIRE(walked.fault == DhtFault::kNone);
  REQUIRE(walked.announcement);
  CHECK(to_hex(walked.announcement->node_id) == "0e553cd6ae3d4bf54f489d7a5119c299da5b3379");
  CHECK(walked.announcement->port == 12345);
  CHECK(walked.announcement->network == 7);
}

TEST_CASE("an announcement is written as it is read", "[dht]") {
  DhtAnnouncement ours;
  ours.node_id.fill(0x99);
  ours.port = 4222;
  ours.network = 0;
  const Walked walked = walk(encode_dht_discovery(ours));
  REQUIRE(walked.announcement);
  CHECK(walked.announcement->node_id == ours.node_id);
  CHECK(walked.announcement->port == ours.port);
  CHECK(walked.announcement->network == ours.network);
}

TEST_CASE("a query on the LAN is told from an announcement", "[dht]") {
  CHECK(to_hex(encode_dht_discovery_query()) == "a171");
  CHECK(is_dht_discovery_query(encode_dht_discovery_query()));
  CHECK(walk(encode_dht_discovery_query()).fault == DhtFault::kNone);
  CHECK_FALSE(walk(encode_dht_discovery_query()).announcement);
  for (const char* other : {"", "a170", "a17100", "c40171", "81a171c0", "d901"}) {
    CHECK_FALSE(is_dht_discovery_query(from_hex_text(other)));
  }
}

TEST_CASE("fault A1: what strangers say on the LAN is walked", "[dht]") {
  const auto dht = [](const Pack& p) { return Pack().map(1).str("dht").add(p).bytes; };
  CHECK(walk(dht(announcement())).announcement);
  // Other services of other programs stand beside it, and later versions may say more.
  CHECK(walk(Pack().map(2).str("jami").map(1).uint(1).uint(2).str("dht").add(announcement()).bytes).announcement);
  CHECK(walk(dht(Pack().array(4).bin(node_id(1)).uint(1).uint(0).array(1).uint(1))).announcement);
  CHECK(walk(Pack().map(1).str("other").uint(1).bytes).fault == DhtFault::kNone);
  CHECK_FALSE(walk(Pack().map(1).str("other").uint(1).bytes).announcement);

  struct Case {
    ByteVector datagram;
    DhtFault fault;
  };
  const Case cases[] = {
      {{}, DhtFault::kEmpty},
      {ByteVector(kMaxDhtDiscoveryDatagram + 1, 0x80), DhtFault::kTooLong},
      {Pack().str("x").bytes, DhtFault::kNotMap},
      {Pack().array(1).uint(1).bytes, DhtFault::kNotMap},
      {from_hex_text("ddffffffff"), DhtFault::kTruncated},
      {dht(Pack().uint(1)), DhtFault::kWrongType},
      {dht(Pack().map(0)), DhtFault::kWrongType},
      {dht(Pack().array(2).bin(node_id(1)).uint(1)), DhtFault::kMissing},
      {dht(Pack().array(3).bin(bytes_of(19, 1)).uint(1).uint(0)), DhtFault::kOutOfBounds},
      {dht(Pack().array(3).bin(node_id(1)).uint(0).uint(0)), DhtFault::kOutOfBounds},
      {dht(Pack().array(3).bin(node_id(1)).uint(0x1'0000).uint(0)), DhtFault::kOutOfBounds},
      {dht(Pack().array(3).bin(node_id(1)).uint(1).uint(0x1'0000'0000)), DhtFault::kOutOfBounds},
      {Pack().map(2).str("dht").add(announcement()).str("dht").add(announcement()).bytes, DhtFault::kDuplicate},
      {Pack().map(1).uint(1).uint(1).bytes, DhtFault::kBadKey},
      {Pack().map(1).str("dht").add(announcement()).uint(1).bytes, DhtFault::kTrailing},
  };
  for (const Case& c : cases) {
    CAPTURE(to_hex(c.datagram));
    const Walked walked = walk(c.datagram);
    CHECK(fault_name(walked.fault) == fault_name(c.fault));
    CHECK_FALSE(walked.announcement);
  }
  const ByteVector good = dht(announcement());
  for (std::size_t n = 0; n < good.size(); ++n) CHECK_FALSE(walk(Bytes(good).first(n)).announcement);
}
