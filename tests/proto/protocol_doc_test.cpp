// SPDX-License-Identifier: GPL-3.0-or-later
// proto/PROTOCOL.md is true: its vectors are what the codecs read and write, its tables are those of the code.
#include <map>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>

#include "proto/channel.h"
#include "proto/control.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/jami_frame.h"
#include "proto/limits.h"
#include "proto/pair_key.h"
#include "proto/reason.h"
#include "proto/signal.h"
#include "tests/proto/doc_tables.h"

using namespace connd::proto;
using namespace connd::test;

namespace {

ByteVector hex(const std::string& text) {
  ByteVector out(text.size() / 2);
  REQUIRE(from_hex(text, out));
  return out;
}

// ---- values in the document's notation ----

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '\n' ? std::string("\\n") : std::string(1, c);
  return out + '"';
}
std::string num(std::uint64_t value) {
  return std::to_string(value);
}

struct Notation {
  std::string operator()(const control::Hello& m) const {
    return R"({"t":"hello","v":)" + num(m.version) + R"(,"max_channels":)" + num(m.max_channels) + R"(,"max_name":)" +
           num(m.max_name) + "}";
  }
  std::string operator()(const control::ChannelRequest& m) const {
    return "[" + quoted(m.name) + "," + num(m.channel) + "," + (m.is_answer ? "true" : "false") + "]";
  }
  std::string operator()(const control::Window& m) const {
    return R"({"t":"window","c":)" + num(m.channel) + R"(,"n":)" + num(m.bytes) + "}";
  }
  std::string operator()(const control::Refuse& m) const { return ended("refuse", m.channel, m.code, m.text); }
  std::string operator()(const control::Reset& m) const { return ended("reset", m.channel, m.code, m.text); }
  std::string operator()(const control::Ping& m) const { return R"({"t":"ping","n":)" + num(m.number) + "}"; }
  std::string operator()(const control::Pong& m) const { return R"({"t":"pong","n":)" + num(m.number) + "}"; }
  std::string operator()(const control::GoAway& m) const {
    return R"({"t":"goaway","code":)" + num(m.code) + R"(,"text":)" + quoted(m.text) + "}";
  }
  std::string operator()(const control::Unique& m) const { return R"({"t":"unique","c":)" + num(m.channel) + "}"; }
  std::string operator()(const control::Unknown&) const { return "ignored"; }

 private:
  static std::string ended(const std::string& type, std::uint64_t channel, std::uint64_t code,
                           const std::string& text) {
    return R"({"t":")" + type + R"(","c":)" + num(channel) + R"(,"code":)" + num(code) + R"(,"text":)" + quoted(text) +
           "}";
  }
};

struct JamiNotation {
  std::string operator()(const control::Hello& m) const { return "version " + num(m.version); }
  std::string operator()(const control::ChannelRequest& m) const {
    return (m.is_answer ? "accept " : "request ") + quoted(m.name) + " " + num(m.channel);
  }
  std::string operator()(const control::Refuse& m) const { return "decline " + quoted(m.name) + " " + num(m.channel); }
  std::string operator()(const control::Ping&) const { return "beacon"; }
  std::string operator()(const control::Pong&) const { return "beacon answer"; }
  template <class Other>
  std::string operator()(const Other&) const {
    return "ignored";
  }
};

std::string notation(const ConnectionRequest& r) {
  std::string out = R"({"id":)" + num(r.id) + R"(,"ice_msg":)" + quoted(r.ice_text) + R"(,"isAnswer":)" +
                    (r.is_answer ? "true" : "false") + R"(,"connType":)" + quoted(r.connection_type);
  if (r.native_version) out += R"(,"jc":{"v":)" + num(*r.native_version) + "}";
  return out + "}";
}

std::string verdict_on(Bytes body) {
  const auto messages = control::decode(body);
  if (messages.error() == Errc::kBadMsgpack) return "bad msgpack";
  if (messages.error() == Errc::kBadControlObject) return "bad object";
  REQUIRE(messages.ok());
  std::string out;
  for (const control::Message& message : *messages) {
    out += (out.empty() ? "" : " ") + std::visit(Notation{}, message);
  }
  return out;
}

ByteVector encoded_again(Bytes body) {
  ByteVector out;
  const auto messages = control::decode(body);
  REQUIRE(messages.ok());
  for (const control::Message& message : *messages) control::encode(message, out);
  return out;
}

/// The one frame that `bytes` are, in the document's notation, and its body as the encoders write it.
std::pair<std::string, ByteVector> read_frame(Bytes bytes) {
  NativeFrameCodec codec;
  const auto piece = codec.next(bytes);
  REQUIRE(piece.ok());
  REQUIRE(piece->has_value());
  CHECK(bytes.empty());
  const FramePiece& p = **piece;
  if (p.kind == FramePiece::Kind::kControl) return {"control " + verdict_on(p.body), encoded_again(p.body)};
  if (p.kind == FramePiece::Kind::kEnd) return {"end " + num(p.channel), {}};
  return {"data " + num(p.channel) + " " + to_hex(p.body), ByteVector(p.body.begin(), p.body.end())};
}

}  // namespace

TEST_CASE("PROTOCOL.md: frames, both ways") {
  for (const Row& row : rows_of("vectors: frames")) {
    INFO(row[0]);
    const ByteVector bytes = hex(code_in(row[1]));
    const auto [text, body] = read_frame(bytes);
    CHECK(text == code_in(row[0]));
    ByteVector again(NativeFrameCodec::kHeaderBytes);
    NativeFrameCodec().write_header(again.data(), load_u16(bytes.data() + 2), body.size());
    again.insert(again.end(), body.begin(), body.end());
    CHECK(to_hex(again) == code_in(row[1]));
  }
}

TEST_CASE("PROTOCOL.md: Jami's messages, both ways") {
  for (const Row& row : rows_of("vectors: jami messages")) {
    INFO(row[0]);
    const ByteVector bytes = hex(code_in(row[1]));
    Bytes in = bytes;
    JamiFrameCodec codec;
    const auto piece = codec.next(in);
    REQUIRE(piece.ok());
    REQUIRE(piece->has_value());
    CHECK(in.empty());
    const FramePiece& p = **piece;
    ByteVector again;
    if (p.kind == FramePiece::Kind::kControl) {
      const auto messages = jami::decode(p.body);
      REQUIRE(messages.ok());
      REQUIRE(messages->size() == 1);
      CHECK("control " + num(p.channel) + " " + std::visit(JamiNotation{}, (*messages)[0]) == code_in(row[0]));
      jami::encode((*messages)[0], again);
    } else {
      const bool end = p.kind == FramePiece::Kind::kEnd;
      CHECK((end ? "end " + num(p.channel) : "data " + num(p.channel) + " " + to_hex(p.body)) == code_in(row[0]));
      again.resize(JamiFrameCodec::kHeaderBytes);
      codec.write_header(again.data(), p.channel, p.body.size());
      again.insert(again.end(), p.body.begin(), p.body.end());
    }
    CHECK(to_hex(again) == code_in(row[1]));
  }
}

TEST_CASE("PROTOCOL.md: control objects, both ways, each type there") {
  std::set<std::size_t> types;
  for (const Row& row : rows_of("vectors: objects")) {
    INFO(row[0]);
    const ByteVector bytes = hex(code_in(row[1]));
    CHECK(verdict_on(bytes) == code_in(row[0]));
    CHECK(to_hex(encoded_again(bytes)) == code_in(row[1]));
    const auto messages = control::decode(bytes);
    REQUIRE(messages->size() == 1);
    types.insert((*messages)[0].index());
  }
  CHECK(types.size() == std::variant_size_v<control::Message> - 1);  // all but Unknown
}

TEST_CASE("PROTOCOL.md: what is refused and what is passed over") {
  for (const Row& row : rows_of("vectors: verdicts")) {
    INFO(row[0]);
    CHECK(verdict_on(hex(code_in(row[1]))) == code_in(row[0]));
  }
}

TEST_CASE("PROTOCOL.md: fault A5: pair keys") {
  for (const Row& row : rows_of("vectors: pair keys")) {
    PairSecret secret;
    DeviceId receiver;
    REQUIRE(from_hex(code_in(row[0]), secret));
    REQUIRE(from_hex(code_in(row[2]), receiver.bytes));
    CHECK(pair_key(secret, static_cast<PairDay>(std::stoul(row[1])), receiver).hex() == code_in(row[3]));
  }
}

TEST_CASE("PROTOCOL.md: doors, both ways") {
  const std::string head = "ufrg\n0123456789abcdef012345\n";
  for (const Row& row : rows_of("vectors: doors")) {
    const std::string text = head + code_in(row[0]) + "\n";
    const auto description = IceDescription::parse(text);
    REQUIRE(description);
    REQUIRE(description->doors.size() == 1);
    const Door& door = description->doors[0];
    CHECK((door.kind == Door::Kind::kMapped ? "mapped" : "host") == code_in(row[1]));
    CHECK(door.address == code_in(row[2]));
    CHECK(std::to_string(door.port) == code_in(row[3]));
    CHECK(description->to_text() == text);
  }
}

TEST_CASE("PROTOCOL.md: connection requests, both ways") {
  for (const Row& row : rows_of("vectors: requests")) {
    INFO(row[0]);
    const auto request = ConnectionRequest::decode(hex(code_in(row[1])));
    REQUIRE(request.ok());
    CHECK(notation(*request) == code_in(row[0]));
    CHECK(to_hex(request->encode()) == code_in(row[1]));
  }
}

TEST_CASE("PROTOCOL.md: the reason codes") {
  const auto rows = rows_of("table: reasons");
  REQUIRE(rows.size() == kReasons.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i][0] == num(i));
    CHECK(code_in(rows[i][1]) == kReasons[i].name);
    CHECK(rows[i][2] == kReasons[i].text);
  }
}

TEST_CASE("PROTOCOL.md: the table of states is next_state") {
  const std::vector<std::pair<std::string, ChannelState>> states = {{"requested", ChannelState::kRequested},
                                                                    {"offered", ChannelState::kOffered},
                                                                    {"open", ChannelState::kOpen},
                                                                    {"reset-sent", ChannelState::kResetSent},
                                                                    {"none", ChannelState::kGone}};
  const std::vector<std::pair<std::string, ChannelEvent>> events = {{"accepted", ChannelEvent::kAccepted},
                                                                    {"refused", ChannelEvent::kRefused},
                                                                    {"reset-sent", ChannelEvent::kResetSent},
                                                                    {"reset-received", ChannelEvent::kResetReceived},
                                                                    {"both-ended", ChannelEvent::kBothEnded}};
  std::map<ChannelState, std::string> names;
  for (const auto& [name, state] : states) names[state] = name;
  std::set<Row> expected;
  for (const auto& [state_name, state] : states) {
    for (const auto& [event_name, event] : events) {
      if (const auto next = next_state(state, event)) expected.insert({state_name, event_name, names[*next]});
    }
  }
  const auto rows = rows_of("table: states");
  CHECK(std::set<Row>(rows.begin(), rows.end()) == expected);
}

TEST_CASE("PROTOCOL.md: the limits, all of them") {
#define CONND_LIMIT(name) \
  { #name, static_cast < std::uint64_t>(name) }
#define CONND_TIME(name) \
  { #name, static_cast < std::uint64_t>(std::chrono::milliseconds(name).count()) }
  const std::map<std::string, std::uint64_t> expected = {CONND_LIMIT(kMaxFrameBody),
                                                         CONND_LIMIT(kDataQuantum),
                                                         CONND_LIMIT(kFreshQuantum),
                                                         CONND_LIMIT(kControlFrameTarget),
                                                         CONND_LIMIT(kControlChannel),
                                                         CONND_LIMIT(kReservedChannel),
                                                         CONND_LIMIT(kClientFirstId),
                                                         CONND_LIMIT(kClientLastId),
                                                         CONND_LIMIT(kServerFirstId),
                                                         CONND_LIMIT(kServerLastId),
                                                         CONND_LIMIT(kMaxChannels),
                                                         CONND_LIMIT(kMaxName),
                                                         CONND_LIMIT(kMaxText),
                                                         CONND_LIMIT(kMaxControlNesting),
                                                         CONND_LIMIT(kMaxControlElements),
                                                         CONND_LIMIT(kMaxPendingNameBytes),
                                                         CONND_LIMIT(kMaxControlBacklog),
                                                         CONND_LIMIT(kRequestBurst),
                                                         CONND_LIMIT(kRequestRate),
                                                         CONND_LIMIT(kNoiseBurst),
                                                         CONND_LIMIT(kNoiseRate),
                                                         CONND_LIMIT(kWindowBurst),
                                                         CONND_LIMIT(kBytesPerWindow),
                                                         CONND_LIMIT(kMinWindow),
                                                         CONND_LIMIT(kInitialWindow),
                                                         CONND_LIMIT(kMaxWindow),
                                                         CONND_LIMIT(kShortPathWindow),
                                                         CONND_LIMIT(kFillRate),
                                                         CONND_LIMIT(kMaxConnectionBuffer),
                                                         CONND_LIMIT(kMaxCredit),
                                                         CONND_TIME(kWindowGrowTime),
                                                         CONND_TIME(kWindowIdleTime),
                                                         CONND_LIMIT(kHeldMark),
                                                         CONND_TIME(kStopTime),
                                                         CONND_LIMIT(kStopTake),
                                                         CONND_LIMIT(kSipBytes),
                                                         CONND_TIME(kSipInterval),
                                                         CONND_TIME(kBeaconInterval),
                                                         CONND_LIMIT(kJamiVersion),
                                                         CONND_TIME(kKeepaliveInterval),
                                                         CONND_TIME(kProbeTime),
                                                         CONND_TIME(kGoAwayTime),
                                                         CONND_LIMIT(kProtocolVersion)};
#undef CONND_LIMIT
#undef CONND_TIME
  std::map<std::string, std::uint64_t> stated;
  for (const Row& row : rows_of("table: limits")) stated[code_in(row[0])] = std::stoull(row[1]);
  CHECK(stated == expected);

  // A constant that is new in the header is missing in the document.
  std::set<std::string> in_header;
  for (const std::string& line : lines_of(std::string(CONND_PROTO_SOURCES) + "/limits.h")) {
    if (!line.starts_with("inline constexpr ")) continue;
    const std::size_t name = line.find(" k") + 1;
    in_header.insert(line.substr(name, line.find(' ', name) - name));
  }
  std::set<std::string> in_document;
  for (const auto& [name, value] : stated) in_document.insert(name);
  CHECK(in_header == in_document);
}
