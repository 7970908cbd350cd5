// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux.h"

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
  const auto [a, b] = connd::tests::open_and_talk(pair, "file://file1");

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

TEST_CASE("what the owner keeps for a channel comes with its data, its end and its turns, until its handle is dead") {
  struct User final : ChannelUser {};
  User user, other;
  MuxPair pair;
  const auto [a, b] = connd::tests::open_and_talk(pair, "x");
  const auto next_of_server = [&] {
    pair.client.flush(pair.to_server);
    const ByteVector bytes = std::exchange(pair.to_server, {});
    pair.server.mux->feed(bytes, pair.now);
    auto event = pair.server.mux->next_event(pair.now);
    REQUIRE(event.ok());
    REQUIRE(event->has_value());
    while (pair.server.mux->next_event(pair.now)->has_value()) {
    }
    return std::pair((*event)->kind, (*event)->user);
  };
  pair.client.write(a, "for nobody");
  CHECK((next_of_server() == std::pair<Kind, ChannelUser*>(Kind::kData, nullptr)));
  pair.server.mux->set_user(b, &user);
  pair.client.write(a, "for somebody");
  CHECK((next_of_server() == std::pair<Kind, ChannelUser*>(Kind::kData, &user)));
  pair.server.mux->set_user(b, &other);
  pair.server.mux->set_ready(b, true);
  const auto turn = pair.server.mux->next_sender();
  REQUIRE(turn);
  CHECK((turn->channel == b && turn->user == &other));
  pair.server.mux->set_ready(b, false);
  pair.client.mux->finish(a);
  CHECK((next_of_server() == std::pair<Kind, ChannelUser*>(Kind::kEnd, &other)));
  pair.server.mux->reset(b, Reason::kReset, {});
  pair.server.mux->set_user(b, &user);  // of a handle that is dead: nothing
  CHECK_FALSE(pair.server.mux->next_sender());
}
