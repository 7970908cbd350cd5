// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/control.h"

#include <catch2/catch.hpp>

#include "proto/error.h"

using namespace connd::proto;

namespace {

ByteVector hex(std::string_view text) {
  ByteVector out(text.size() / 2);
  REQUIRE(from_hex(text, out));
  return out;
}
std::string encoded(const control::Message& message) {
  ByteVector out;
  control::encode(message, out);
  return to_hex(out);
}

}  // namespace

// The vectors of PROTOCOL.md.
TEST_CASE("control objects: vectors both ways") {
  const std::vector<std::pair<control::Message, std::string>> vectors = {
      {control::Hello{1, 65534, 65000},
       "84a174a568656c6c6fa17601ac6d61785f6368616e6e656c73cdfffea86d61785f6e616d65cdfde8"},
      {control::ChannelRequest{"file://file1", 1, false}, "93ac66696c653a2f2f66696c653101c2"},
      {control::ChannelRequest{"file://file1", 1, true}, "93ac66696c653a2f2f66696c653101c3"},
      {control::Window{1, 65536}, "83a174a677696e646f77a16301a16ece00010000"},
      {control::Refuse{1, 5, "no"}, "84a174a6726566757365a16301a4636f646505a474657874a26e6f"},
      {control::Reset{32768, 13, ""}, "84a174a57265736574a163cd8000a4636f64650da474657874a0"},
      {control::Ping{7}, "82a174a470696e67a16e07"},
      {control::Pong{7}, "82a174a4706f6e67a16e07"},
      {control::GoAway{24, "idle"}, "83a174a6676f61776179a4636f646518a474657874a469646c65"},
      {control::Unique{1}, "82a174a6756e69717565a16301"},
  };
  for (const auto& [message, bytes] : vectors) {
    CHECK(encoded(message) == bytes);
    const auto decoded = control::decode(hex(bytes));
    REQUIRE(decoded.ok());
    REQUIRE(decoded->size() == 1);
    CHECK((*decoded)[0].index() == message.index());
    CHECK(encoded((*decoded)[0]) == bytes);
    // Every truncation is an error: a control frame holds whole objects.
    for (std::size_t n = 2; n < bytes.size(); n += 2) {
      CHECK(control::decode(hex(bytes.substr(0, n))).error() == Errc::kBadMsgpack);
    }
  }
}

TEST_CASE("control frames: several objects, and what is refused") {
  const auto two =
      control::decode(hex("82a174a470696e67a16e07"
                          "93a16101c2"));
  REQUIRE(two.ok());
  CHECK(two->size() == 2);
  CHECK(control::decode({})->empty());

  const std::vector<std::pair<std::string, Errc>> bad = {
      {"82a174a470696e67a16e07"
       "c1",
       Errc::kBadMsgpack},                                    // trailing byte that starts nothing
      {"92a16101", Errc::kBadControlObject},                  // two elements
      {"94a16101c2c2", Errc::kBadControlObject},              // four
      {"93a16101c0", Errc::kBadControlObject},                // nil for bool
      {"93c4016101c2", Errc::kBadControlObject},              // bin for str
      {"93a161ffc2", Errc::kBadControlObject},                // a negative id
      {"07", Errc::kBadControlObject},                        // neither array nor map
      {"80", Errc::kBadControlObject},                        // no t
      {"81a17407", Errc::kBadControlObject},                  // t is no str
      {"81a174a470696e67", Errc::kBadControlObject},          // ping without n
      {"82a174a470696e67a16ea161", Errc::kBadControlObject},  // n is no uint
      {"82a174a161a178919191919107", Errc::kBadMsgpack},      // nested too deep
      {"ddffffffff", Errc::kBadMsgpack},                      // four thousand million elements
      {"dc1000", Errc::kBadMsgpack},
  };
  for (const auto& [bytes, error] : bad) {
    INFO(bytes);
    CHECK(control::decode(hex(bytes)).error() == error);
  }
}

TEST_CASE("control maps: unknown types and keys are ignored, long texts are cut") {
  auto unknown = control::decode(hex("82a174a3666f6fa178919107"));
  REQUIRE(unknown.ok());
  CHECK(std::holds_alternative<control::Unknown>((*unknown)[0]));
  auto extra = control::decode(hex("83a174a470696e67a16e07a17893c0c3ca3f800000"));
  REQUIRE(extra.ok());
  CHECK(std::get<control::Ping>((*extra)[0]).number == 7);

  ByteVector bytes;
  control::encode(control::Reset{1, 2, std::string(1'000, 't')}, bytes);
  const auto cut = control::decode(bytes);
  REQUIRE(cut.ok());
  CHECK(std::get<control::Reset>((*cut)[0]).text.size() == kMaxText);
}
