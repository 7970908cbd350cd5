// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/jami_frame.h"

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/proto/decode_pieces.h"

using namespace connd::proto;
using connd::tests::decode_pieces;
using connd::tests::hex_bytes;

namespace {

std::string decode(Bytes stream, std::size_t step) {
  return decode_pieces<JamiFrameCodec>(stream, step);
}

std::error_code decode_error(std::string_view hex) {
  return jami::decode(hex_bytes(hex)).error();
}

/// A message as write_header and `body` make it.
std::string message(WireId channel, std::string_view body_hex) {
  const ByteVector body = hex_bytes(body_hex);
  ByteVector header(JamiFrameCodec::kHeaderBytes);
  JamiFrameCodec().write_header(header.data(), channel, body.size());
  return to_hex(header) + std::string(body_hex);
}

}  // namespace

TEST_CASE("Jami's messages: the same whatever the cuts") {
  const auto [stream, expected] = GENERATE(table<std::string, std::string>({
      {"92cd8000c50003616263", " 1/32768:616263"},
      {"9207c40100", " 1/7:00"},
      {"9207c400", " 2/7:"},
      {"92cd0007c50000", " 2/7:"},
      // Any form of a number, an array's head and a bin's head.
      {"dc0002cc07c403616263", " 1/7:616263"},
      {"dd00000002ce00000007c600000003616263", " 1/7:616263"},
      {"92cf0000000000000007c403616263", " 1/7:616263"},
      {"9200c40293c0", " 0/0:93c0"},
      {"92cdffffc40481a17601", " 0/65535:81a17601"},
      {"9201c40161"
       "9201c400"
       "9200c4020102"
       "9202c40162",
       " 1/1:61 2/1: 0/0:0102 1/2:62"},
      {"9200c400", " ! an empty frame on the control channel"},
      {"92cdffffc400", " ! an empty frame on the control channel"},
      {"9201c6ffffffff", " ! a message that is not [channel, bytes]"},
      {"9201c600010000", " ! a message that is not [channel, bytes]"},
      {"92ce00010000", " ! a message that is not [channel, bytes]"},
      {"92cfffffffffffffffff", " ! a message that is not [channel, bytes]"},
      {"92ff", " ! a message that is not [channel, bytes]"},
      {"92d007", " ! a message that is not [channel, bytes]"},
      {"9201a161", " ! a message that is not [channel, bytes]"},
      {"93", " ! a message that is not [channel, bytes]"},
      {"dc0003", " ! a message that is not [channel, bytes]"},
      {"ddffffffff", " ! a message that is not [channel, bytes]"},
      {"c1", " ! a message that is not [channel, bytes]"},
      {"c0", " ! a message that is not [channel, bytes]"},
  }));
  const ByteVector bytes = hex_bytes(stream);
  for (std::size_t step = 1; step <= bytes.size(); ++step) CHECK(decode(bytes, step) == expected);
}

TEST_CASE("Jami's messages: every truncation only waits for more") {
  const ByteVector bytes = hex_bytes("9200c40481a17601dc0002cd8000c50003616263");
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    CHECK(decode(Bytes(bytes).first(n), bytes.size()).find('!') == std::string::npos);
  }
}

TEST_CASE("Jami's messages: what is written is read") {
  for (const WireId channel : {WireId{1}, WireId{127}, WireId{128}, WireId{32'768}, WireId{65'534}}) {
    const ByteVector bytes = hex_bytes(message(channel, "616263") + message(channel, ""));
    const std::string id = std::to_string(channel);
    CHECK(decode(bytes, bytes.size()) == " 1/" + id + ":616263 2/" + id + ":");
  }
}

TEST_CASE("Jami's control objects: both ways") {
  using namespace control;
  const auto encoded = [](const Message& m) {
    ByteVector out;
    jami::encode(m, out);
    return to_hex(out);
  };
  CHECK(encoded(Hello{1, 2, 3}) == message(65'535, "81a17601"));
  CHECK(encoded(Ping{7}) == message(65'535, "81a170c3"));
  CHECK(encoded(Pong{7}) == message(65'535, "81a170c2"));
  CHECK(encoded(ChannelRequest{"sip", 1, false}) == message(0, "93a37369700100"));
  CHECK(encoded(ChannelRequest{"sip", 1, true}) == message(0, "93a37369700101"));
  CHECK(encoded(Refuse{1, 5, "no", "sip"}) == message(0, "93a37369700102"));
  CHECK(encoded(Window{1, 1}).empty());
  CHECK(encoded(Reset{1, 1, ""}).empty());
  CHECK(encoded(GoAway{}).empty());
  CHECK(encoded(Unique{1}).empty());

  const auto all =
      jami::decode(hex_bytes("81a17601"
                             "81a170c3"
                             "81a170c2"
                             "93a37369700100"
                             "93a3736970cd800001"
                             "93a37369700102"
                             "93a37369700107"
                             "93a373697001ff"
                             "81a17807"
                             "94a37369700100c0"));
  REQUIRE(all.ok());
  REQUIRE(all->size() == 10);
  CHECK(std::get<Hello>((*all)[0]).version == 1);
  CHECK(std::holds_alternative<Ping>((*all)[1]));
  CHECK(std::holds_alternative<Pong>((*all)[2]));
  CHECK_FALSE(std::get<ChannelRequest>((*all)[3]).is_answer);
  CHECK(std::get<ChannelRequest>((*all)[4]).is_answer);
  CHECK(std::get<ChannelRequest>((*all)[4]).channel == 32'768);
  CHECK(std::get<Refuse>((*all)[5]).name == "sip");
  CHECK(std::get<Refuse>((*all)[5]).code == static_cast<std::uint64_t>(Reason::kDeclined));
  CHECK(std::holds_alternative<Unknown>((*all)[6]));  // states and maps of later versions
  CHECK(std::holds_alternative<Unknown>((*all)[7]));
  CHECK(std::holds_alternative<Unknown>((*all)[8]));
  CHECK(std::holds_alternative<ChannelRequest>((*all)[9]));
}

TEST_CASE("Jami's control objects: bad input") {
  CHECK(decode_error("92a37369700100") == Errc::kBadControlObject);  // and bytes behind it that begin an object
  CHECK(decode_error("93c403736970"
                     "0100") == Errc::kBadControlObject);            // bin for str
  CHECK(decode_error("93a3736970ff00") == Errc::kBadControlObject);  // a negative id
  CHECK(decode_error("93a373697001c3") == Errc::kBadControlObject);  // bool for a state
  CHECK(decode_error("81a176a161") == Errc::kBadControlObject);      // a version that is no number
  CHECK(decode_error("81a17001") == Errc::kBadControlObject);        // a beacon that is no bool
  CHECK(decode_error("07") == Errc::kBadControlObject);
  CHECK(decode_error("93a37369") == Errc::kBadMsgpack);
  CHECK(decode_error("ddffffffff") == Errc::kBadMsgpack);
  CHECK(decode_error("dfffffffff") == Errc::kBadMsgpack);
  CHECK(decode_error("93dbffffffff") == Errc::kBadMsgpack);
  CHECK(decode_error("81a1789191919191c0") == Errc::kBadMsgpack);  // nested too deep
}
