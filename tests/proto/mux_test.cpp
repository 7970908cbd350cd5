// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux.h"

#include <set>

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/sim/mux_pair.h"
#include "tests/sim/raw_peer.h"

using namespace connd::proto;
using connd::tests::MuxEnd;
using connd::tests::MuxPair;
using connd::tests::open;
using connd::tests::RawPeer;
using Kind = MuxEvent::Kind;
using namespace std::chrono_literals;

TEST_CASE("open, accept, data both ways, half close, end") {
  MuxPair pair;
  const ChannelHandle a = open(pair.client, "file://file1", pair.now);
  pair.settle();
  REQUIRE(pair.client.seen(Kind::kOpened).size() == 1);
  const auto requested = pair.server.seen(Kind::kRequested);
  REQUIRE(requested.size() == 1);
  CHECK(requested[0].name == "file://file1");
  const ChannelHandle b = requested[0].channel;

  pair.client.write(a, std::string(300'000, 'x'));
  pair.server.write(b, "hello");
  pair.settle();
  CHECK(pair.server.received[b] == std::string(300'000, 'x'));
  CHECK(pair.client.received[a] == "hello");

  pair.client.mux->finish(a);
  pair.settle();
  CHECK(pair.server.seen(Kind::kEnd).size() == 1);
  CHECK(pair.client.seen(Kind::kEnd).empty());
  pair.server.write(b, " and more");  // the other half still works
  pair.settle();
  CHECK(pair.client.received[a] == "hello and more");
  pair.server.mux->finish(b);
  pair.settle();
  CHECK(pair.client.seen(Kind::kEnd).size() == 1);
  CHECK(pair.client.mux->channel_count() == 0);
  CHECK(pair.server.mux->channel_count() == 0);
  pair.client.mux->release(a);
  pair.server.mux->release(b);
  CHECK(pair.client.mux->buffered_bytes() == 0);
  CHECK_FALSE(pair.client.error);
  CHECK_FALSE(pair.server.error);
}

TEST_CASE("B1: a further open is one control frame each way, and small") {
  MuxPair pair;
  open(pair.client, "one", pair.now);
  pair.settle();
  open(pair.client, "file://file2", pair.now);
  pair.client.flush(pair.to_server);
  const std::size_t request = pair.to_server.size();
  CHECK(load_u16(pair.to_server.data()) + 4u == request);  // exactly one frame
  CHECK(request < 64);
  pair.deliver_to_server(request);
  pair.server.flush(pair.to_client);
  CHECK(load_u16(pair.to_client.data()) + 4u == pair.to_client.size());
  CHECK(pair.to_client.size() < 64);
  pair.deliver_to_client(pair.to_client.size());
  CHECK(pair.client.seen(Kind::kOpened).size() == 2);
}

TEST_CASE("B2, B3: same name twice is two channels; one refused, one accepted") {
  MuxPair pair;
  pair.server.accept_all = false;
  const ChannelHandle a1 = open(pair.client, "a", pair.now);
  const ChannelHandle a2 = open(pair.client, "a", pair.now);
  CHECK(a1 != a2);
  pair.settle();
  auto requested = pair.server.seen(Kind::kRequested);
  REQUIRE(requested.size() == 2);
  pair.server.mux->refuse(requested[0].channel, Reason::kDeclined, "not now");
  CHECK(pair.server.mux->accept(requested[1].channel, pair.now));
  pair.settle();
  const auto refused = pair.client.seen(Kind::kRefused);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].channel == a1);
  CHECK(refused[0].reason == Reason::kDeclined);
  CHECK(refused[0].text == "not now");
  REQUIRE(pair.client.seen(Kind::kOpened).size() == 1);
  CHECK(pair.client.seen(Kind::kOpened)[0].channel == a2);
  CHECK(pair.client.mux->channel_count() == 1);
}

TEST_CASE("B4: unique opens that cross resolve to the TLS client's channel, on both sides") {
  MuxPair pair;
  const ChannelHandle c = open(pair.client, "u", pair.now, true);
  const ChannelHandle s = open(pair.server, "u", pair.now, true);
  pair.settle();
  REQUIRE(pair.client.seen(Kind::kOpened).size() == 1);
  REQUIRE(pair.server.seen(Kind::kOpened).size() == 1);
  CHECK(pair.client.seen(Kind::kRequested).empty());
  CHECK(pair.server.seen(Kind::kRequested).empty());
  CHECK(pair.client.mux->channel_count() == 1);
  CHECK(pair.server.mux->channel_count() == 1);
  pair.client.write(c, "ping");
  pair.server.write(s, "pong");
  pair.settle();
  CHECK(pair.server.received[s] == "ping");
  CHECK(pair.client.received[c] == "pong");

  // Again while it lives: the same channel. A plain open never joins it.
  auto again = pair.server.mux->open("u", true, pair.now);
  REQUIRE(again.ok());
  CHECK(again->joined);
  CHECK(again->channel == s);
  CHECK(open(pair.client, "u", pair.now) != c);
  CHECK(open(pair.client, "v", pair.now, true) != c);
  pair.settle();
  // After it ended: a new one.
  pair.client.mux->finish(c);
  pair.server.mux->finish(s);
  pair.settle();
  auto fresh = pair.server.mux->open("u", true, pair.now);
  REQUIRE(fresh.ok());
  CHECK_FALSE(fresh->joined);
}

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

TEST_CASE("B13: a cancelled open's id comes back; nothing old reaches the new channel") {
  MuxPair pair;
  pair.server.accept_all = false;
  const ChannelHandle old_open = open(pair.client, "old", pair.now);
  pair.settle();
  const ChannelHandle offered = pair.server.seen(Kind::kRequested)[0].channel;
  // The accept, its data and its credit are on the way when the open is cancelled.
  CHECK(pair.server.mux->accept(offered, pair.now));
  pair.server.write(offered, "late data");
  pair.server.flush(pair.to_client);
  pair.client.mux->reset(old_open, Reason::kCancelled, "");
  pair.settle();
  CHECK(pair.client.seen(Kind::kOpened).empty());
  CHECK(pair.client.received.empty());
  REQUIRE(pair.server.seen(Kind::kReset).size() == 1);
  CHECK(pair.client.mux->channel_count() == 0);
  CHECK(pair.server.mux->channel_count() == 0);
}

TEST_CASE("B13: the same id again at once: name, data and credit are the new channel's") {
  // All other ids are taken, so that the next open has no choice.
  MuxPair pair;
  for (WireId id = kClientFirstId; id < kClientLastId; ++id) (void)pair.client.mux->open("kept", false, pair.now);
  pair.settle();
  pair.server.accept_all = false;
  const ChannelHandle old_open = open(pair.client, "old", pair.now);
  CHECK_FALSE(pair.client.mux->open("no id is left", false, pair.now).ok());
  pair.settle();
  const ChannelHandle offered = pair.server.events.back().channel;
  CHECK(pair.server.mux->accept(offered, pair.now));
  pair.server.write(offered, std::string(60'000, 'l'));
  pair.server.flush(pair.to_client);
  pair.client.mux->reset(old_open, Reason::kCancelled, "");
  // Until the reset is answered, the id is not free.
  CHECK_FALSE(pair.client.mux->open("too early", false, pair.now).ok());
  pair.client.flush(pair.to_server);
  pair.deliver_to_server(pair.to_server.size());
  pair.server.flush(pair.to_client);
  const std::size_t before = pair.client.seen(Kind::kOpened).size();
  for (std::size_t left = pair.to_client.size(); left > 0; --left) {
    pair.deliver_to_client(1);
    if (left > 1) continue;  // the reset's last byte frees it
  }
  const ChannelHandle fresh = open(pair.client, "new", pair.now);
  pair.settle();
  REQUIRE(pair.server.events.back().kind == Kind::kRequested);
  CHECK(pair.server.events.back().name == "new");
  const ChannelHandle there = pair.server.events.back().channel;
  CHECK(there != offered);
  CHECK(pair.server.mux->accept(there, pair.now));
  pair.server.write(there, "new data");
  pair.client.write(fresh, std::string(kInitialWindow + 1, 'c'));  // accepted later: it goes with the new credit alone
  pair.settle();
  CHECK(pair.client.seen(Kind::kOpened).size() == before + 1);
  CHECK(pair.client.received.count(old_open) == 0);
  CHECK(pair.client.received[fresh] == "new data");
  CHECK(pair.server.received[there].size() == kInitialWindow + 1);
  CHECK_FALSE(pair.client.error);
  CHECK_FALSE(pair.server.error);
}

TEST_CASE("B13: a request on an id that we have reset is offered anew, and gets nothing of the old one") {
  const bool ended_before = GENERATE(true, false);
  RawPeer raw({.side = MuxSide::kServer});
  raw.end.accept_all = false;
  raw.send(control::ChannelRequest{"old", 7, false});
  const ChannelHandle old_channel = raw.end.seen(Kind::kRequested)[0].channel;
  CHECK(raw.end.mux->accept(old_channel, raw.now));
  raw.send(control::Window{7, 1'000});
  raw.end.write(old_channel, "old data");
  raw.end.flush(raw.out);
  raw.end.mux->reset(old_channel, Reason::kCancelled, "");
  if (ended_before) raw.send_frame(7, {});
  raw.send_frame(7, as_bytes("late"));
  raw.send(control::ChannelRequest{"new", 7, false});
  CHECK(raw.end.received.empty());
  REQUIRE(raw.end.seen(Kind::kRequested).size() == 2);
  const MuxEnd::Seen fresh = raw.end.seen(Kind::kRequested)[1];
  CHECK(fresh.name == "new");
  CHECK(fresh.channel != old_channel);
  CHECK(raw.end.mux->accept(fresh.channel, raw.now));
  raw.end.write(fresh.channel, "new data");
  // One reset and one accept since then; no byte without credit, that of the old channel is gone with it.
  std::size_t resets = 0;
  std::size_t accepts = 0;
  for (const control::Message& message : raw.replies()) {
    resets += std::holds_alternative<control::Reset>(message);
    if (const auto* request = std::get_if<control::ChannelRequest>(&message)) accepts += request->name == "new";
  }
  CHECK(resets == 1);
  CHECK(accepts == 1);
  CHECK(raw.end.to_send[fresh.channel] == "new data");
  raw.send_frame(7, as_bytes("of the new one"));
  CHECK(raw.end.received[fresh.channel] == "of the new one");
  CHECK(raw.end.received.size() == 1);
  CHECK(raw.end.mux->channel_count() == 1);
  CHECK_FALSE(raw.end.error);
}

TEST_CASE("B9: an open cancelled before it is answered frees that channel only") {
  MuxPair pair;
  pair.server.accept_all = false;
  const ChannelHandle slow = open(pair.client, "slow", pair.now);
  pair.settle();
  pair.client.mux->reset(slow, Reason::kTimedOut, "");
  pair.settle();
  CHECK(pair.server.seen(Kind::kCancelled).size() == 1);
  CHECK_FALSE(pair.server.mux->accept(pair.server.seen(Kind::kRequested)[0].channel, pair.now));
  pair.server.accept_all = true;
  open(pair.client, "next", pair.now);
  pair.settle();
  CHECK(pair.client.seen(Kind::kOpened).size() == 1);
  CHECK(pair.client.mux->channel_count() == 1);
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
