// SPDX-License-Identifier: GPL-3.0-or-later
// proto/mux_receiver.h, in its mux: what a peer may not do, and what it costs whom.
#include <catch2/catch.hpp>

#include "proto/error.h"
#include "proto/mux.h"
#include "tests/sim/mux_pair.h"
#include "tests/sim/raw_peer.h"

using namespace connd::proto;
using connd::tests::MuxEnd;
using connd::tests::MuxPair;
using connd::tests::open;
using connd::tests::RawPeer;
using Kind = MuxEvent::Kind;
using namespace std::chrono_literals;

TEST_CASE("B10: names, each with its stated outcome") {
  MuxPair pair;
  const std::string with_nul("a\0b", 3);
  for (const std::string& name :
       {std::string(), std::string("x"), with_nul, std::string("\x1b[31m"), std::string(kMaxName, 'n')}) {
    open(pair.client, name, pair.now);
    pair.settle();
    CHECK(pair.server.seen(Kind::kRequested).back().name == name);
  }
  CHECK(pair.client.seen(Kind::kOpened).size() == 5);
  CHECK(pair.client.mux->open(std::string(kMaxName + 1, 'n'), false, pair.now).error() == Errc::kBadChannelName);
  CHECK(pair.client.mux->open("\xff", false, pair.now).error() == Errc::kBadChannelName);

  RawPeer raw({.side = MuxSide::kServer});
  raw.send(control::ChannelRequest{"\xc3\x28", 1, false});
  raw.send(control::ChannelRequest{std::string(kMaxName + 1, 'n'), 2, false});
  const auto replies = raw.replies();
  REQUIRE(replies.size() == 2);
  for (const auto& reply : replies) {
    CHECK(std::get<control::Refuse>(reply).code == static_cast<std::uint64_t>(Reason::kBadName));
  }
  CHECK_FALSE(raw.end.error);
}

TEST_CASE("B11: an id that is open, reserved, or of the other half is refused and harms nothing") {
  RawPeer raw({.side = MuxSide::kServer});
  raw.send(control::ChannelRequest{"a", 5, false});
  raw.replies();
  for (const std::uint64_t id :
       {std::uint64_t{5}, std::uint64_t{0}, std::uint64_t{0xffff}, std::uint64_t{0x8000}, std::uint64_t{0x10005}}) {
    raw.send(control::ChannelRequest{"b", id, false});
  }
  CHECK(raw.end.seen(Kind::kViolation).size() == 5);
  CHECK_FALSE(raw.end.error);
  const auto replies = raw.replies();
  CHECK(replies.size() == 4);  // an id of our own half gets no answer: it could be taken for one of ours
  // The open channel goes on.
  const ChannelHandle channel = raw.end.seen(Kind::kRequested)[0].channel;
  raw.send_frame(5, as_bytes("data"));
  CHECK(raw.end.received[channel] == "data");
}

TEST_CASE("B12: unknown ids and data after the end") {
  SECTION("data for an id that is not open ends the connection") {
    RawPeer raw;
    raw.send_frame(9, as_bytes("x"));
    CHECK(raw.end.error == Errc::kUnknownChannel);
  }
  SECTION("EOF for one, too") {
    RawPeer raw;
    raw.send_frame(9, {});
    CHECK(raw.end.error == Errc::kUnknownChannel);
  }
  SECTION("reset, refusal and credit for one are ignored") {
    RawPeer raw;
    raw.send(control::Reset{9, 13, ""});
    raw.send(control::Refuse{9, 5, ""});
    raw.send(control::Window{9, 100});
    CHECK_FALSE(raw.end.error);
    CHECK(raw.replies().empty());
  }
  SECTION("data after EOF resets the channel") {
    RawPeer raw({.side = MuxSide::kServer});
    raw.send(control::ChannelRequest{"a", 1, false});
    raw.send_frame(1, {});
    raw.send_frame(1, as_bytes("x"));
    REQUIRE(raw.end.seen(Kind::kReset).size() == 1);
    CHECK(raw.end.seen(Kind::kReset)[0].reason == Reason::kProtocolError);
    CHECK_FALSE(raw.end.error);
  }
}

TEST_CASE("what ends the connection, each with its own error") {
  SECTION("a first object that is not hello") {
    RawPeer raw({}, false);
    raw.send(control::Ping{1});
    CHECK(raw.end.error == Errc::kHelloExpected);
  }
  SECTION("data before hello") {
    RawPeer raw({}, false);
    raw.send_frame(1, as_bytes("x"));
    CHECK(raw.end.error == Errc::kHelloExpected);
  }
  SECTION("a second hello") {
    RawPeer raw;
    raw.send(control::Hello{});
    CHECK(raw.end.error == Errc::kHelloRepeated);
  }
  SECTION("version 0") {
    RawPeer raw({}, false);
    raw.send(control::Hello{0, 1, 1});
    CHECK(raw.end.error == Errc::kUnsupportedVersion);
  }
  SECTION("the reserved channel") {
    RawPeer raw;
    raw.send_frame(kReservedChannel, as_bytes("x"));
    CHECK(raw.end.error == Errc::kReservedChannel);
  }
  SECTION("an empty control frame") {
    RawPeer raw;
    raw.send_frame(kControlChannel, {});
    CHECK(raw.end.error == Errc::kEmptyControlFrame);
  }
  SECTION("garbage on the control channel") {
    RawPeer raw;
    const ByteVector garbage{0xc1, 0xc1};
    raw.send_frame(kControlChannel, garbage);
    CHECK(raw.end.error == Errc::kBadMsgpack);
  }
  SECTION("an accept with another name") {
    RawPeer raw({.side = MuxSide::kClient});
    open(raw.end, "a", raw.now);
    raw.send(control::ChannelRequest{"b", 1, true});
    CHECK(raw.end.error == Errc::kAcceptNameDiffers);
  }
}

TEST_CASE("D5: overrun and forged credit reset the channel") {
  RawPeer raw({.side = MuxSide::kServer});
  raw.end.take_at_once = false;
  raw.send(control::ChannelRequest{"a", 1, false});
  const auto replies = raw.replies();
  REQUIRE(replies.size() == 2);
  const auto window = std::get<control::Window>(replies[1]).bytes;
  const ByteVector chunk(8'192);
  for (std::uint64_t sent = 0; sent + chunk.size() <= window; sent += chunk.size()) raw.send_frame(1, chunk);
  CHECK(raw.end.seen(Kind::kReset).empty());
  raw.send_frame(1, as_bytes("x"));
  REQUIRE(raw.end.seen(Kind::kReset).size() == 1);
  CHECK(raw.end.seen(Kind::kReset)[0].reason == Reason::kProtocolError);

  raw.send(control::ChannelRequest{"b", 2, false});
  raw.send(control::Window{2, kMaxCredit});
  CHECK(raw.end.seen(Kind::kReset).size() == 1);
  raw.send(control::Window{2, 1});
  CHECK(raw.end.seen(Kind::kReset).size() == 2);
  raw.send(control::ChannelRequest{"c", 3, false});
  raw.send(control::Window{3, 0});
  CHECK(raw.end.seen(Kind::kReset).size() == 3);
  CHECK_FALSE(raw.end.error);
}

TEST_CASE("a refusal or reset whose code means a clean end is a reset all the same") {
  const auto code = GENERATE(Reason::kClosed, Reason::kIdle);
  RawPeer raw({.side = MuxSide::kClient});
  open(raw.end, "a", raw.now);
  raw.send(control::Refuse{1, static_cast<std::uint64_t>(code), ""});
  REQUIRE(raw.end.seen(Kind::kRefused).size() == 1);
  CHECK(raw.end.seen(Kind::kRefused)[0].reason == Reason::kReset);
  raw.send(control::ChannelRequest{"b", kServerFirstId, false});
  raw.send(control::Reset{kServerFirstId, static_cast<std::uint64_t>(code), ""});
  REQUIRE(raw.end.seen(Kind::kReset).size() == 1);
  CHECK(raw.end.seen(Kind::kReset)[0].reason == Reason::kReset);
}

TEST_CASE("forged credit for a request that waits refuses it, with the reason") {
  RawPeer raw({.side = MuxSide::kServer});
  raw.end.accept_all = false;
  raw.send(control::ChannelRequest{"a", 1, false});
  raw.send(control::Window{1, std::uint64_t{kMaxCredit} + 1});
  REQUIRE(raw.end.seen(Kind::kCancelled).size() == 1);
  CHECK(raw.end.seen(Kind::kCancelled)[0].reason == Reason::kProtocolError);
  const auto replies = raw.replies();
  REQUIRE(replies.size() == 1);
  CHECK(std::get<control::Refuse>(replies[0]).code == static_cast<std::uint64_t>(Reason::kProtocolError));
}

TEST_CASE("opens that are taken back at once are no flood of the peer's: they are refused while so much waits") {
  RawPeer raw;
  Result<Mux::Opened> opened = Errc::kTooManyPending;
  int made = 0;
  do {
    opened = raw.end.mux->open(std::string(kMaxName, 'n'), false, raw.now);
    if (opened) raw.end.mux->reset(opened->channel, Reason::kCancelled, {});
  } while (opened && ++made < 1'000);
  REQUIRE_FALSE(opened);
  CHECK(opened.error() == Errc::kTooManyPending);
  CHECK(made > 100);
  raw.send(control::Ping{1});
  CHECK_FALSE(raw.end.error);
}

TEST_CASE("B14: floods end the connection, with bounded memory") {
  SECTION("pings whose answers nobody reads") {
    RawPeer raw;
    for (int i = 0; i < 200'000 && !raw.end.error; ++i) raw.send(control::Ping{1});
    CHECK(raw.end.error == Errc::kControlFlood);
  }
  SECTION("requests, refused or not") {
    RawPeer raw({.side = MuxSide::kServer, .max_channels = 10});
    for (std::uint64_t i = 0; i < 200'000 && !raw.end.error; ++i) {
      raw.send(control::ChannelRequest{"n", 1 + i % 0x7fff, false});
    }
    CHECK(raw.end.error == Errc::kControlFlood);
    CHECK(raw.end.mux->channel_count() == 10);
  }
  SECTION("windows") {
    RawPeer raw({.side = MuxSide::kServer});
    raw.send(control::ChannelRequest{"n", 1, false});
    for (int i = 0; i < 200'000 && !raw.end.error; ++i) raw.send(control::Window{1, 1});
    CHECK(raw.end.error == Errc::kControlFlood);
  }
  SECTION("the first credit of each channel is no flood, however many channels a connection sees") {
    const bool peer_opens = GENERATE(true, false);
    RawPeer raw({.side = peer_opens ? MuxSide::kServer : MuxSide::kClient});
    for (std::uint32_t i = 0; i < kWindowBurst + 1'000 && !raw.end.error; ++i) {
      if (i % 1'000 == 0) raw.now += 1s;
      std::uint64_t id = 1 + i % 0x7fff;
      if (!peer_opens) open(raw.end, "n", raw.now);
      raw.send(control::ChannelRequest{"n", id, !peer_opens});
      raw.send(control::Window{id, 100});
      raw.end.mux->finish(raw.end.seen(peer_opens ? Kind::kRequested : Kind::kOpened).back().channel);
      raw.send_frame(static_cast<WireId>(id), {});
      raw.replies();
      raw.end.mux->release(raw.end.events.front().channel);
      raw.end.events.clear();
    }
    CHECK_FALSE(raw.end.error);
    CHECK(raw.end.mux->channel_count() == 0);
  }
  SECTION("names of pending requests are bounded: busy") {
    RawPeer raw({.side = MuxSide::kServer});
    raw.end.accept_all = false;
    const std::string name(60'000, 'n');
    for (std::uint64_t i = 1; i <= 100; ++i) raw.send(control::ChannelRequest{name, i, false});
    CHECK(raw.end.seen(Kind::kRequested).size() == kMaxPendingNameBytes / name.size());
    const auto replies = raw.replies();
    REQUIRE_FALSE(replies.empty());
    CHECK(std::get<control::Refuse>(replies[0]).code == static_cast<std::uint64_t>(Reason::kBusy));
    CHECK_FALSE(raw.end.error);
  }
  SECTION("a rate that is served for ever is no flood") {
    RawPeer raw;
    for (int i = 0; i < 300'000; ++i) {
      if (i % 500 == 0) raw.now += 1s;
      raw.send(control::Ping{1});
      if (i % 500 == 0) raw.replies();
    }
    CHECK_FALSE(raw.end.error);
  }
}

TEST_CASE(
    "fault G3: credit for a direction that has ended changes nothing, whatever it is; for an open one it must fit") {
  RawPeer raw({.side = MuxSide::kServer});
  raw.send(control::ChannelRequest{"a", 1, false});
  raw.send(control::Window{1, 10});
  const ChannelHandle channel = raw.end.seen(Kind::kRequested).at(0).channel;
  const std::uint64_t credit = GENERATE(as<std::uint64_t>{}, 0, 1, kMaxCredit - 10, kMaxCredit, ~std::uint64_t{0});
  const bool ended = GENERATE(true, false);
  CAPTURE(credit, ended);
  if (ended) raw.end.mux->finish(channel);
  (void)raw.replies();
  raw.send(control::Window{1, credit});
  // The sum is that of the credit that is not used: 10, and what comes.
  const bool fits = credit >= 1 && credit <= kMaxCredit - 10;
  CHECK(raw.end.seen(Kind::kReset).size() == (ended || fits ? 0 : 1));
  CHECK(raw.replies().size() == (ended || fits ? 0 : 1));
  CHECK_FALSE(raw.end.error);
  if (!ended) return;
  // The other direction goes on.
  raw.send_frame(1, as_bytes("x"));
  CHECK(raw.end.received[channel] == "x");
}

TEST_CASE("fault G4: who ends the connection says so at once, before what else waits") {
  RawPeer raw;
  for (int i = 0; !raw.end.error && i < 200'000; ++i) raw.send(control::Ping{1});
  CHECK(raw.end.error == Errc::kControlFlood);
  raw.end.mux->go_away(Reason::kProtocolError, "why", raw.now);
  raw.end.error = {};
  const auto replies = raw.replies();
  REQUIRE(replies.size() == 1);
  CHECK(std::get<control::GoAway>(replies[0]).code == static_cast<std::uint64_t>(Reason::kProtocolError));
}

TEST_CASE("an accept between `unique` and its request undoes the announcement") {
  RawPeer raw({.side = MuxSide::kServer});
  const ChannelHandle ours = open(raw.end, "ours", raw.now);
  raw.replies();
  ByteVector body;
  control::encode(control::Unique{3}, body);
  control::encode(control::ChannelRequest{"ours", kServerFirstId, true}, body);
  control::encode(control::ChannelRequest{"theirs", 3, false}, body);
  raw.send_frame(kControlChannel, body);
  CHECK_FALSE(raw.end.error);
  REQUIRE(raw.end.seen(Kind::kOpened).size() == 1);
  CHECK(raw.end.seen(Kind::kOpened)[0].channel == ours);
  REQUIRE(raw.end.seen(Kind::kRequested).size() == 1);
  CHECK(raw.end.mux->unique_channel("theirs") == 0);
}
