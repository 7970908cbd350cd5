// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux_table.h"

#include <string>

#include <catch2/catch.hpp>

using namespace connd::proto;

namespace {

struct Tables {
  std::unique_ptr<Dialect> dialect;
  HandleSource handles;
  MuxFlow flow;
  MuxTable table;

  explicit Tables(MuxSide side = MuxSide::kClient, std::unique_ptr<Dialect> spoken = native_dialect())
      : dialect(std::move(spoken)),
        flow(dialect->rules.credit, kMaxConnectionBuffer, kMaxWindow),
        table(side, dialect->rules, handles, flow) {}
  Channel& ask(WireId id, const std::string& name, bool unique = false) {
    return table.add(id, name, ChannelState::kRequested, unique);
  }
  Channel& offer(WireId id, const std::string& name, bool unique = false) {
    return table.add(id, name, ChannelState::kOffered, unique);
  }
};

}  // namespace

TEST_CASE("MuxTable: a channel is found by its handle, its id and, if it is unique, its name, as long as each is its") {
  Tables t;
  Channel& channel = t.ask(1, "x", true);
  const ChannelHandle handle = channel.handle;
  CHECK(t.table.find(handle) == &channel);
  CHECK(t.table.find_id(1) == &channel);
  CHECK(t.table.find_unique("x") == &channel);
  CHECK(t.table.find(handle + 1) == nullptr);
  CHECK(t.table.find_id(2) == nullptr);
  CHECK(t.table.find_id(0x10001) == nullptr);  // not 1
  CHECK(t.table.find_unique("y") == nullptr);
  t.table.apply(channel, ChannelEvent::kAccepted);
  CHECK(t.table.find_unique("x") == &channel);
  t.table.apply(channel, ChannelEvent::kBothEnded);
  // Gone from the wire; the app may still take what is held.
  CHECK(t.table.find_id(1) == nullptr);
  CHECK(t.table.find_unique("x") == nullptr);
  CHECK(t.table.find(handle) == &channel);
  t.table.forget(channel);
  CHECK(t.table.find(handle) == nullptr);
}

TEST_CASE("MuxTable: what is asked for again and again is found without a search, and nothing else in its place") {
  Tables t;
  Channel& first = t.ask(1, "a");
  Channel& second = t.ask(2, "b");
  const ChannelHandle handle = first.handle;
  for (Channel* channel : {&first, &second, &first}) {
    t.table.expect(*channel);
    CHECK(t.table.find(first.handle) == &first);
    CHECK(t.table.find(second.handle) == &second);
    CHECK(t.table.find_id(1) == &first);
    CHECK(t.table.find_id(2) == &second);
  }
  // An id that is free again is another channel's.
  t.table.expect(first);
  t.table.apply(first, ChannelEvent::kAccepted);
  t.table.apply(first, ChannelEvent::kBothEnded);
  CHECK(t.table.find_id(1) == nullptr);
  Channel& again = t.ask(1, "c");
  CHECK(t.table.find_id(1) == &again);
  t.table.expect(first);
  CHECK(t.table.find_id(1) == &again);
  t.table.forget(first);
  CHECK(t.table.find(handle) == nullptr);
}

TEST_CASE("MuxTable: an orphan is known by its id alone, and goes with it") {
  Tables t;
  Channel& channel = t.ask(1, "x");
  const ChannelHandle handle = channel.handle;
  t.table.apply(channel, ChannelEvent::kResetSent);
  channel.orphan = true;
  t.table.expect(channel);
  CHECK(t.table.find(handle) == nullptr);
  CHECK(t.table.find_id(1) == &channel);
  CHECK(t.table.on_wire() == 1);
  t.table.apply(channel, ChannelEvent::kResetReceived);
  CHECK(t.table.find_id(1) == nullptr);
  CHECK(t.table.on_wire() == 0);
}

TEST_CASE("MuxTable: a superseded request gives its handle and its name away") {
  Tables t(MuxSide::kServer);
  Channel& loser = t.ask(0x8000, "x", true);
  const ChannelHandle handle = loser.handle;
  Channel& winner = t.table.supersede(loser, 1);
  CHECK(winner.handle == handle);
  CHECK(t.table.find(handle) == &winner);
  CHECK(t.table.find_unique("x") == &winner);
  CHECK(t.table.find_id(1) == &winner);
  CHECK((winner.state == ChannelState::kOffered && winner.unique && !winner.ours));
  // The loser waits for its answer without an owner.
  CHECK(t.table.find_id(0x8000) == &loser);
  CHECK(t.table.find(loser.handle) == nullptr);
  CHECK((t.table.our_pending_names() == 1 && t.table.peer_pending_names() == 1));
  t.table.apply(loser, ChannelEvent::kRefused);
  CHECK(t.table.find_id(0x8000) == nullptr);
  CHECK(t.table.find_unique("x") == &winner);
  CHECK((t.table.our_pending_names() == 0 && t.table.peer_pending_names() == 1));
}

TEST_CASE("MuxTable: the names of requests count until they are answered") {
  Tables t;
  Channel& ours = t.ask(1, "abc");
  Channel& theirs = t.offer(0x8000, "de");
  CHECK((t.table.our_pending_names() == 3 && t.table.peer_pending_names() == 2));
  t.table.apply(ours, ChannelEvent::kAccepted);
  CHECK((t.table.our_pending_names() == 0 && t.table.peer_pending_names() == 2));
  t.table.apply(theirs, ChannelEvent::kRefused);
  CHECK(t.table.peer_pending_names() == 0);
  // What means nothing in a state changes nothing.
  t.table.apply(theirs, ChannelEvent::kAccepted);
  CHECK((theirs.state == ChannelState::kGone));
}

TEST_CASE("MuxTable: ids are of two halves, taken in turn") {
  Tables client(MuxSide::kClient), server(MuxSide::kServer);
  CHECK((client.table.is_ours(1) && client.table.is_ours(0x7fff)));
  CHECK_FALSE((client.table.is_ours(0) || client.table.is_ours(0x8000) || client.table.is_ours(0x10001)));
  CHECK((server.table.is_ours(0x8000) && server.table.is_ours(0xfffe)));
  CHECK_FALSE((server.table.is_ours(0x7fff) || server.table.is_ours(0xffff)));
  CHECK((client.table.is_peers(0x8000) && client.table.is_peers(0xfffe)));
  CHECK_FALSE((client.table.is_peers(0) || client.table.is_peers(1) || client.table.is_peers(0xffff)));
  for (const WireId id : std::initializer_list<WireId>{1, 2, 3}) CHECK(client.table.free_id() == id);
  client.ask(4, "x");
  CHECK(client.table.free_id() == 5);
  // All in use.
  for (WireId id = kServerFirstId; id != kReservedChannel; ++id) server.ask(id, {});
  CHECK(server.table.free_id() == std::nullopt);
}

TEST_CASE(
    "MuxTable: where cancelling cannot be said, its answer is awaited, and where there are no halves, any id is the "
    "peer's") {
  Tables t(MuxSide::kClient, jami_dialect());
  CHECK(t.table.is_peers(1));
  Channel& channel = t.ask(1, "x");
  t.table.apply(channel, ChannelEvent::kResetSent);
  channel.orphan = true;
  CHECK((t.table.on_wire() == 1 && t.table.unanswered() == 1));
  t.table.apply(channel, ChannelEvent::kResetReceived);
  CHECK((t.table.on_wire() == 0 && t.table.unanswered() == 0));
}
