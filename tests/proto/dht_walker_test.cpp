// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_walker.h"

#include <algorithm>
#include <memory>

#include <catch2/catch.hpp>
#include <openssl/x509.h>

#include "proto/dht_msgpack.h"
#include "tests/proto/certificates.h"
#include "tests/proto/dht_messages.h"

using namespace connd::proto;
using namespace connd::proto::test;

namespace {

/// In storage of exactly its size, so that a sanitizer sees each read beyond.
DhtFault walk(Bytes datagram, DhtMessage* out = nullptr) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[datagram.size()]);
  std::copy(datagram.begin(), datagram.end(), exact.get());
  DhtMessage message;
  const DhtFault fault = walk_dht_message({exact.get(), datagram.size()}, message);
  if (out != nullptr) *out = message;
  return fault;
}

DhtFault walk_reply(const Pack& answer) {
  return walk(reply(answer));
}

/// {id, NAME: OBJECT} in a reply.
DhtFault walk_member(std::string_view name, const Pack& object) {
  Pack answer = id_map(2);
  answer.str(name).add(object);
  return walk_reply(answer);
}

}  // namespace

TEST_CASE("fault A1: one datagram of a stranger ends nothing: each that did is refused", "[dht]") {
  struct Case {
    const char* hex;
    DhtFault fault;
  };
  const Case cases[] = {
      // {"e": [], "y": "e", "t": 1}: the first element of none.
      {"83a16590a179a165a17401", DhtFault::kMissing},
      // An error alone: OpenDHT would take its array for a map of twice the size.
      {"83a16592cd0191a178a179a165a17401", DhtFault::kMissing},
      // {"a": bin of 4, "q": "ping", "t": 1, "y": "q"}: its bytes would be addresses.
      {"84a161c40441414141a171a470696e67a17401a179a171", DhtFault::kNotMap},
      // {"a": 5, "q": "update", "t": 1, "y": "q"}
      {"84a16105a171a6757064617465a17401a179a171", DhtFault::kNotMap},
      // The same with text, an array, nil.
      {"84a161a3616263a171a470696e67a17401a179a171", DhtFault::kNotMap},
      {"84a16193010203a171a470696e67a17401a179a171", DhtFault::kNotMap},
      {"84a161c0a171a470696e67a17401a179a171", DhtFault::kNotMap},
      // {"r": 1} and {"u": 1}, alone and beside a map.
      {"83a17201a17401a179a172", DhtFault::kNotMap},
      {"83a17501a17401a179a172", DhtFault::kNotMap},
      // {"p": {0: 1}}: a look-up in what is no map.
      {"83a170810001a17401a179a176", DhtFault::kNotMap},
      {"83a17001a17401a179a176", DhtFault::kNotMap},
      // Arrays and maps of 2^32 - 1 elements.
      {"ddffffffff", DhtFault::kTruncated},
      {"dfffffffff", DhtFault::kTruncated},
      {"82a165ddffffffffa17401", DhtFault::kTruncated},
      // Not a map at all, nothing, half of something.
      {"90", DhtFault::kNotMap},
      {"", DhtFault::kEmpty},
      {"c1", DhtFault::kBadByte},
  };
  for (const Case& c : cases) {
    CAPTURE(c.hex);
    CHECK(fault_name(walk(from_hex_text(c.hex))) == fault_name(c.fault));
  }
}

TEST_CASE("the kinds of message are told as OpenDHT tells them", "[dht]") {
  const std::pair<const char*, DhtKind> queries[] = {
      {"ping", DhtKind::kPing},           {"find", DhtKind::kFind}, {"get", DhtKind::kGet},
      {"listen", DhtKind::kListen},       {"put", DhtKind::kPut},   {"refresh", DhtKind::kRefresh},
      {"update", DhtKind::kUpdateRequest}};
  DhtMessage message;
  for (const auto& [name, kind] : queries) {
    REQUIRE(walk(query(name, id_map(1), 0x01020304), &message) == DhtFault::kNone);
    CHECK(message.kind == kind);
    CHECK(message.tid == 0x01020304);
    CHECK(message.is_request());
  }
  CHECK(walk(query("pong", id_map(1))) == DhtFault::kUnknownKind);

  REQUIRE(walk(reply(id_map(1)), &message) == DhtFault::kNone);
  CHECK(message.kind == DhtKind::kReply);
  CHECK_FALSE(message.is_request());

  Pack update;
  update.map(3).str("u").add(id_map(1)).str("t").uint(9).str("y").str("r");
  REQUIRE(walk(update.bytes, &message) == DhtFault::kNone);
  CHECK(message.kind == DhtKind::kUpdate);

  Pack error;
  error.map(4).str("e").array(2).uint(401).str("no").str("r").add(id_map(1)).str("t").uint(9).str("y").str("e");
  REQUIRE(walk(error.bytes, &message) == DhtFault::kNone);
  CHECK(message.kind == DhtKind::kError);

  REQUIRE(walk(part(3, 1280, bytes_of(10, 1)), &message) == DhtFault::kNone);
  CHECK(message.kind == DhtKind::kValueData);
  REQUIRE(message.parts.size() == 1);
  CHECK(message.parts[0].index == 3);
  CHECK(message.parts[0].offset == 1280);

  SECTION("parts beside anything else are none") {
    Pack both;
    both.map(3).str("p").map(1).uint(0).map(2).str("o").uint(0).str("d").bin(bytes_of(1, 1));
    both.str("r").add(id_map(1)).str("t").uint(1);
    CHECK(walk(both.bytes) == DhtFault::kUnknownKind);
  }
  SECTION("y is q where nothing else tells the kind") {
    Pack p;
    p.map(4).str("a").add(id_map(1)).str("q").str("ping").str("t").uint(1).str("y").str("r");
    CHECK(walk(p.bytes) == DhtFault::kUnknownKind);
  }
}

TEST_CASE("a transaction id is a number or four bytes", "[dht]") {
  const auto with_tid = [](const Pack& tid) {
    Pack p;
    p.map(3).str("r").add(id_map(1)).str("t").add(tid).str("y").str("r");
    return p.bytes;
  };
  DhtMessage message;
  REQUIRE(walk(with_tid(Pack().bin(from_hex_text("01020304"))), &message) == DhtFault::kNone);
  CHECK(message.tid == 0x01020304);
  REQUIRE(walk(with_tid(Pack().uint(0xffff'ffff)), &message) == DhtFault::kNone);
  CHECK(message.tid == 0xffff'ffff);
  CHECK(walk(with_tid(Pack().uint(0x1'0000'0000))) == DhtFault::kOutOfBounds);
  CHECK(walk(with_tid(Pack().bin(bytes_of(3, 1)))) == DhtFault::kOutOfBounds);
  CHECK(walk(with_tid(Pack().bin(bytes_of(5, 1)))) == DhtFault::kOutOfBounds);
  CHECK(walk(with_tid(Pack().str("abcd"))) == DhtFault::kWrongType);
  CHECK(walk(with_tid(Pack().raw({0xff}))) == DhtFault::kWrongType);
  // A signed form of a positive number is one to msgpack-cxx, too.
  REQUIRE(walk(with_tid(Pack().raw({0xd1, 0x01, 0x02})), &message) == DhtFault::kNone);
  CHECK(message.tid == 0x0102);
}

TEST_CASE("each member that OpenDHT reads has its type and bounds", "[dht]") {
  const auto bin = [](std::size_t n) { return Pack().bin(bytes_of(n, 0x22)); };
  struct Case {
    const char* name;
    Pack object;
    DhtFault fault;
  };
  const Case cases[] = {
      {"h", bin(20), DhtFault::kNone},
      {"h", bin(19), DhtFault::kOutOfBounds},
      {"h", bin(21), DhtFault::kOutOfBounds},
      {"h", Pack().str("01234567890123456789"), DhtFault::kWrongType},
      {"target", bin(20), DhtFault::kNone},
      {"target", bin(0), DhtFault::kOutOfBounds},
      {"sid", Pack().uint(77), DhtFault::kNone},
      {"sid", bin(4), DhtFault::kNone},
      {"sid", bin(8), DhtFault::kOutOfBounds},
      {"token", bin(64), DhtFault::kNone},
      {"token", bin(300), DhtFault::kOutOfBounds},
      {"token", Pack().uint(1), DhtFault::kWrongType},
      {"vid", Pack().uint(UINT64_MAX), DhtFault::kNone},
      {"vid", Pack().raw({0xff}), DhtFault::kWrongType},
      {"n4", bin(0), DhtFault::kNone},
      {"n4", bin(26 * 8), DhtFault::kNone},
      {"n4", bin(27), DhtFault::kOutOfBounds},
      {"n4", bin(25), DhtFault::kOutOfBounds},
      {"n4", bin(26 * (kMaxDhtNodes + 1)), DhtFault::kOutOfBounds},
      {"n6", bin(38 * 8), DhtFault::kNone},
      {"n6", bin(26), DhtFault::kOutOfBounds},
      {"n6", Pack().array(0), DhtFault::kWrongType},
      {"sa", bin(4), DhtFault::kNone},
      {"sa", bin(16), DhtFault::kNone},
      {"sa", bin(5), DhtFault::kOutOfBounds},
      {"sa", Pack().str("abcd"), DhtFault::kWrongType},
      {"c", Pack().uint(1'800'000'000), DhtFault::kNone},
      {"c", Pack().uint(UINT64_MAX), DhtFault::kOutOfBounds},
      {"c", Pack().raw({0xff}), DhtFault::kNone},  // -1: of a node whose clock is wrong
      {"c", Pack().raw({0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}), DhtFault::kOutOfBounds},
      {"c", Pack().str("1"), DhtFault::kWrongType},
      {"exp", Pack().array(2).uint(1).uint(UINT64_MAX), DhtFault::kNone},
      {"exp", Pack().array(1).str("1"), DhtFault::kWrongType},
      {"re", Pack().array(0), DhtFault::kNone},
      {"re", Pack().uint(1), DhtFault::kWrongType},
      {"w", Pack().array(2).uint(2).uint(10), DhtFault::kNone},
      {"w", Pack().uint(2), DhtFault::kWrongType},
      {"w", Pack().array(1).raw({0xca, 0, 0, 0, 0}), DhtFault::kWrongType},
      {"ve", Pack().uint(1), DhtFault::kNone},
      {"ve", Pack().uint(0x8000'0000), DhtFault::kOutOfBounds},
      {"values", Pack().map(0), DhtFault::kWrongType},
      {"values", Pack().array(0), DhtFault::kNone},
      {"unknown", Pack().map(1).array(1).uint(1).array(2).raw({0xc0}).bin(bytes_of(9, 1)), DhtFault::kNone},
      // fileds: the number of values is divided by that of the fields.
      {"fileds", Pack().map(2).str("f").array(1).uint(1).str("v").array(1).uint(5), DhtFault::kNone},
      {"fileds", Pack().map(2).str("f").array(0).str("v").array(1).uint(5), DhtFault::kMissing},
      {"fileds", Pack().map(2).str("f").array(1).uint(0).str("v").array(0), DhtFault::kOutOfBounds},
      {"fileds", Pack().map(2).str("f").array(2).uint(1).uint(1).str("v").array(0), DhtFault::kOutOfBounds},
      {"fileds", Pack().map(1).str("f").array(1).uint(6), DhtFault::kOutOfBounds},
      {"fileds", Pack().map(1).str("v").array(0), DhtFault::kMissing},
      {"fileds", Pack().uint(1), DhtFault::kNotMap},
      {"fileds", Pack().map(2).str("f").array(1).uint(1).str("v").map(0), DhtFault::kWrongType},
      // A query: {s: fields, w: filters}.
      {"q", Pack().map(2).str("s").array(1).uint(3).str("w").array(0), DhtFault::kNone},
      {"q", Pack().map(2).str("s").array(0).str("w").array(1).map(2).str("f").uint(2).str("v").uint(8),
       DhtFault::kNone},
      {"q", Pack().map(1).str("s").array(0), DhtFault::kMissing},
      {"q", Pack().str("ping"), DhtFault::kNotMap},
      {"q", Pack().map(2).str("s").array(1).str("x").str("w").array(0), DhtFault::kWrongType},
      {"q", Pack().map(2).str("s").array(0).str("w").array(1).uint(1), DhtFault::kNotMap},
      {"q", Pack().map(2).str("s").array(0).str("w").array(1).map(2).str("f").uint(3).str("v").bin(bytes_of(20, 1)),
       DhtFault::kNone},
      {"q", Pack().map(2).str("s").array(0).str("w").array(1).map(2).str("f").uint(3).str("v").bin(bytes_of(19, 1)),
       DhtFault::kOutOfBounds},
      {"q", Pack().map(2).str("s").array(0).str("w").array(1).map(2).str("f").uint(4).str("v").uint(0),
       DhtFault::kOutOfBounds},
      {"q", Pack().map(2).str("s").array(0).str("w").array(1).map(2).str("f").uint(5).str("v").map(0),
       DhtFault::kWrongType},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name, to_hex(c.object.bytes));
    CHECK(fault_name(walk_member(c.name, c.object)) == fault_name(c.fault));
  }
}

TEST_CASE("a sender has an id", "[dht]") {
  CHECK(walk_reply(Pack().map(0)) == DhtFault::kMissing);
  CHECK(walk_reply(id_map(1, 0)) == DhtFault::kMissing);
  DhtMessage message;
  REQUIRE(walk(reply(id_map(1, 0x33)), &message) == DhtFault::kNone);
}

TEST_CASE("keys are text, and known ones are there once", "[dht]") {
  Pack twice = id_map(3);
  twice.str("h").bin(node_id(1)).str("h").bin(node_id(2));
  CHECK(walk_reply(twice) == DhtFault::kDuplicate);
  Pack unknown_twice = id_map(3);
  unknown_twice.str("zz").uint(1).str("zz").uint(2);
  CHECK(walk_reply(unknown_twice) == DhtFault::kNone);
  Pack bin_key = id_map(2);
  bin_key.bin(as_bytes("h")).bin(node_id(1));
  CHECK(walk_reply(bin_key) == DhtFault::kBadKey);
  Pack number_key = id_map(2);
  number_key.uint(1).uint(2);
  CHECK(walk_reply(number_key) == DhtFault::kBadKey);
}

TEST_CASE("depth, elements and length are bounded", "[dht]") {
  const auto nested = [](std::size_t depth) {
    Pack p;
    for (std::size_t i = 0; i < depth; ++i) p.array(1);
    return p.uint(1);
  };
  // Two maps are around it.
  CHECK(walk_member("x", nested(kMaxDhtDepth - 2)) == DhtFault::kNone);
  CHECK(walk_member("x", nested(kMaxDhtDepth - 1)) == DhtFault::kTooDeep);
  CHECK(walk_member("x", nested(60'000)) == DhtFault::kTooDeep);
  CHECK(walk(nested(60'000).bytes) == DhtFault::kNotMap);

  Pack many;
  many.array(60'000);
  for (int i = 0; i < 60'000; ++i) many.uint(1);
  CHECK(walk_member("x", many) == DhtFault::kTooMany);

  Pack members = id_map(1 + kMaxDhtMembers);
  for (std::size_t i = 0; i < kMaxDhtMembers; ++i) members.str("k" + std::to_string(i)).uint(1);
  CHECK(walk_reply(members) == DhtFault::kTooMany);

  CHECK(walk(ByteVector(kMaxDhtDatagram + 1, 0x80)) == DhtFault::kTooLong);
  ByteVector more = reply(id_map(1));
  more.push_back(0xc0);
  CHECK(walk(more) == DhtFault::kTrailing);
}

TEST_CASE("values are told apart: whole ones, sizes, and those that cannot be read", "[dht]") {
  Pack answer = id_map(3);
  answer.str("values").array(7);
  answer.add(plain_value(1, 5)).uint(700).add(Pack().map(1).str("id").uint(1)).uint(0).uint(kMaxDhtValue + 1);
  answer.uint(kMaxDhtValue).str("x");
  answer.str("token").bin(bytes_of(32, 1));
  const ByteVector datagram = reply(answer);
  DhtMessage message;
  REQUIRE(walk_dht_message(datagram, message) == DhtFault::kNone);
  CHECK(message.values == 7);
  CHECK(message.has_token);
  REQUIRE(message.sized.size() == 2);
  CHECK(message.sized[0].index == 1);
  CHECK(message.sized[0].size == 700);
  CHECK(to_hex(Bytes(datagram).subspan(message.sized[0].at.offset, message.sized[0].at.length)) == "cd02bc");
  CHECK(message.sized[1].index == 5);
  REQUIRE(message.bad_values.size() == 4);
  CHECK(to_hex(Bytes(datagram).subspan(message.bad_values[0].offset, message.bad_values[0].length)) == "81a2696401");

  SECTION("bad ones cut out, the rest is in order") {
    const ByteVector nil = {0xc0};
    const ByteVector cut = splice(datagram, message.bad_values, std::vector<Bytes>(4, Bytes(nil)));
    REQUIRE(walk_dht_message(cut, message) == DhtFault::kNone);
    CHECK(message.bad_values.empty());
    CHECK(message.values == 7);
    CHECK(message.sized.size() == 2);
  }
  SECTION("too many") {
    Pack p = id_map(2);
    p.str("values").array(kMaxDhtValues + 1);
    for (std::size_t i = 0; i <= kMaxDhtValues; ++i) p.uint(1);
    CHECK(walk_reply(p) == DhtFault::kTooMany);
  }
}

TEST_CASE("parts are indexed, placed, and not empty", "[dht]") {
  const auto parts = [](const Pack& p) { return Pack().map(2).str("t").uint(1).str("p").add(p).bytes; };
  const auto one = [](std::uint64_t index, std::uint64_t offset, std::size_t bytes) {
    return Pack().uint(index).map(2).str("o").uint(offset).str("d").bin(bytes_of(bytes, 1));
  };
  CHECK(walk(parts(Pack().map(1).add(one(0, 0, 1)))) == DhtFault::kNone);
  CHECK(walk(parts(Pack().map(0))) == DhtFault::kMissing);
  CHECK(walk(parts(Pack().map(1).add(one(0, 0, 0)))) == DhtFault::kOutOfBounds);
  CHECK(walk(parts(Pack().map(1).add(one(kMaxDhtValues, 0, 1)))) == DhtFault::kOutOfBounds);
  CHECK(walk(parts(Pack().map(1).add(one(0, kMaxDhtValue + 1, 1)))) == DhtFault::kOutOfBounds);
  CHECK(walk(parts(Pack().map(1).add(one(0, UINT64_MAX, 1)))) == DhtFault::kOutOfBounds);
  CHECK(walk(parts(Pack().map(2).add(one(0, 0, 1)).add(one(0, 1, 1)))) == DhtFault::kDuplicate);
  CHECK(walk(parts(Pack().map(1).uint(0).map(1).str("o").uint(0))) == DhtFault::kMissing);
  CHECK(walk(parts(Pack().map(1).str("0").map(0))) == DhtFault::kWrongType);
  CHECK(walk(parts(Pack().map(1).uint(0).array(0))) == DhtFault::kNotMap);
  CHECK(walk(parts(Pack().map(9))) == DhtFault::kTruncated);
}

TEST_CASE("no truncation and no changed byte makes the walker read elsewhere", "[dht]") {
  Pack answer = id_map(5);
  answer.str("values").array(3).add(plain_value(1, 5)).uint(700).add(sealed_value(2, 9));
  answer.str("n4").bin(bytes_of(52, 3)).str("token").bin(bytes_of(32, 1));
  answer.str("fileds").map(2).str("f").array(1).uint(1).str("v").array(1).uint(5);
  const Pack asked = id_map(2).str("q").map(2).str("s").array(1).uint(3).str("w").array(0);
  for (const ByteVector& good : {reply(answer), query("get", asked), part(1, 0, bytes_of(9, 1)), sized_reply({700})}) {
    REQUIRE(walk(good) == DhtFault::kNone);
    for (std::size_t n = 0; n < good.size(); ++n) {
      const DhtFault fault = walk(Bytes(good).first(n));
      CHECK(fault == (n == 0 ? DhtFault::kEmpty : DhtFault::kTruncated));
    }
    ByteVector changed = good;
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (unsigned b = 0; b < 256; ++b) {
        changed[i] = static_cast<std::uint8_t>(b);
        (void)walk(changed);
      }
      changed[i] = good[i];
    }
  }
}

TEST_CASE("a value is walked as OpenDHT reads it", "[dht]") {
  const auto walked = [](const Pack& p) { return walk_dht_value(p.bytes); };
  const auto value = [](const Pack& dat) { return Pack().map(2).str("id").uint(1).str("dat").add(dat); };
  const auto body = [&](const Pack& b) { return value(Pack().map(1).str("body").add(b)); };
  CHECK(walked(plain_value(UINT64_MAX, 100)) == DhtFault::kNone);
  CHECK(walked(sealed_value(1, 512)) == DhtFault::kNone);
  CHECK(walked(plain_value(1, kMaxDhtValue)) == DhtFault::kTooLong);
  CHECK(walked(Pack()) == DhtFault::kEmpty);
  CHECK(walked(Pack().array(2)) == DhtFault::kTruncated);
  CHECK(walked(Pack().uint(1)) == DhtFault::kNotMap);
  CHECK(walked(Pack().map(1).str("id").uint(1)) == DhtFault::kMissing);
  CHECK(walked(value(Pack().uint(1))) == DhtFault::kWrongType);
  CHECK(walked(value(Pack().map(0))) == DhtFault::kMissing);
  CHECK(walked(value(Pack().map(1).str("body").uint(1))) == DhtFault::kNotMap);
  CHECK(walked(body(Pack().map(1).str("data").bin({}))) == DhtFault::kMissing);
  CHECK(walked(body(Pack().map(2).str("data").bin({}).str("type").uint(0x1'0000))) == DhtFault::kOutOfBounds);
  CHECK(walked(body(Pack().map(2).str("data").array(0).str("type").uint(0))) == DhtFault::kWrongType);
  CHECK(walked(body(Pack().map(3).str("data").bin({}).str("type").uint(0).str("utype").uint(1))) ==
        DhtFault::kWrongType);
  CHECK(walked(body(Pack().map(3).str("data").bin({}).str("type").uint(0).str("to").bin(bytes_of(19, 1)))) ==
        DhtFault::kOutOfBounds);
  CHECK(walked(plain_value(1, 5).uint(1)) == DhtFault::kTrailing);
  Pack priority;
  priority.map(3).str("id").uint(1).str("dat").bin({}).str("p").uint(UINT64_MAX);
  CHECK(walked(priority) == DhtFault::kOutOfBounds);
}

namespace {

ByteVector public_key(EVP_PKEY* key) {
  std::uint8_t* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  ByteVector out(der, der + length);
  OPENSSL_free(der);
  return out;
}

ByteVector der(std::uint8_t tag, const ByteVector& content) {
  ByteVector out = {tag};
  if (content.size() >= 256) {
    out.insert(out.end(), {0x82, static_cast<std::uint8_t>(content.size() >> 8)});
  } else if (content.size() >= 128) {
    out.push_back(0x81);
  }
  out.push_back(static_cast<std::uint8_t>(content.size()));
  out.insert(out.end(), content.begin(), content.end());
  return out;
}

ByteVector rsa_key(const ByteVector& modulus, const ByteVector& exponent) {
  ByteVector numbers = der(0x02, modulus);
  const ByteVector e = der(0x02, exponent);
  numbers.insert(numbers.end(), e.begin(), e.end());
  ByteVector bits = {0};
  const ByteVector pair = der(0x30, numbers);
  bits.insert(bits.end(), pair.begin(), pair.end());
  ByteVector info = from_hex_text("300d06092a864886f70d0101010500");
  const ByteVector key = der(0x03, bits);
  info.insert(info.end(), key.begin(), key.end());
  return der(0x30, info);
}

}  // namespace

TEST_CASE("an owner's key is no larger than a signature may cost", "[dht]") {
  const ByteVector real = public_key(connd::test::key(0));
  CHECK(is_fair_public_key(real));
  CHECK(is_fair_public_key(rsa_key(bytes_of(512, 0x7f), {0x01, 0x00, 0x01})));
  CHECK(is_fair_public_key(rsa_key(bytes_of(1024, 0x7f), {0x01, 0x00, 0x01})));
  CHECK_FALSE(is_fair_public_key(rsa_key(bytes_of(1026, 0x7f), {0x01, 0x00, 0x01})));
  CHECK_FALSE(is_fair_public_key(rsa_key(bytes_of(256, 0x7f), bytes_of(255, 0x7f))));
  CHECK_FALSE(is_fair_public_key(rsa_key(bytes_of(16, 0x7f), {0x03})));
  CHECK_FALSE(is_fair_public_key(rsa_key(bytes_of(256, 0x7e), {0x03})));
  CHECK_FALSE(is_fair_public_key(rsa_key(bytes_of(256, 0x7f), {0x00})));
  CHECK_FALSE(is_fair_public_key(rsa_key(bytes_of(256, 0x7f), {})));
  CHECK_FALSE(is_fair_public_key(rsa_key(bytes_of(256, 0x8f), {0x03})));
  for (std::size_t n = 0; n < real.size(); ++n) CHECK_FALSE(is_fair_public_key(Bytes(real).first(n)));
  CHECK_FALSE(is_fair_public_key(as_bytes("-----BEGIN PUBLIC KEY-----")));

  const auto signed_value = [](Bytes key) {
    Pack p;
    p.map(2).str("id").uint(1).str("dat").map(2).str("sig").bin(bytes_of(256, 1)).str("body").map(5);
    p.str("seq").uint(1).str("owner").bin(key).str("to").bin(node_id(1)).str("type").uint(3).str("data").bin({});
    return walk_dht_value(p.bytes);
  };
  CHECK(signed_value(real) == DhtFault::kNone);
  CHECK(signed_value(rsa_key(bytes_of(256, 0x7f), bytes_of(255, 0x7f))) == DhtFault::kOutOfBounds);
  CHECK(signed_value({}) == DhtFault::kOutOfBounds);
}

TEST_CASE("a ping of ours is in the grammar, and as long whatever its id", "[dht]") {
  const ByteVector id = node_id(0x42);
  DhtMessage message;
  for (const std::uint32_t tid : {0U, 1U, 0xffff'ffffU}) {
    const ByteVector ping = encode_dht_ping({id, tid, 0});
    REQUIRE(walk_dht_message(ping, message) == DhtFault::kNone);
    CHECK(message.kind == DhtKind::kPing);
    CHECK(message.tid == tid);
    CHECK(to_hex(message.id) == to_hex(id));
    CHECK(ping.size() == 54);
  }
  // As OpenDHT 2.4.12 sends it.
  CHECK(to_hex(encode_dht_ping({from_hex_text("4998d0acf0326788ac3f5bb7d647ae7c5b8c0cfe"), 0x9fd318de, 0})) ==
        "85a16181a26964c4144998d0acf0326788ac3f5bb7d647ae7c5b8c0cfea171a470696e67a174ce9fd318dea179a171a176a4524e4731");
  const ByteVector ping = encode_dht_ping({id, 1, 77});
  REQUIRE(walk_dht_message(ping, message) == DhtFault::kNone);
  CHECK(message.network == 77);
}
