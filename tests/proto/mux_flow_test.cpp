// SPDX-License-Identifier: GPL-3.0-or-later
// proto/mux.h: windows, the pool that they come from, and who may send next.
#include <catch2/catch.hpp>

#include "proto/error.h"
#include "proto/mux.h"
#include "tests/sim/mux_pair.h"

using namespace connd::proto;
using connd::tests::MuxEnd;
using connd::tests::MuxPair;
using connd::tests::open;
using Kind = MuxEvent::Kind;
using namespace std::chrono_literals;

namespace {

/// The peer sends all that it may, and the app takes it a millisecond later.
void fill_and_take(ReceiveWindow& window, TimePoint& now) {
  now += 1ms;
  const std::uint32_t n = window.promised();
  REQUIRE(window.received(n).ok());
  window.consumed(n, now);
}

}  // namespace

TEST_CASE("D1: an app that does not read stops its own channel, within the bound") {
  MuxPair pair;
  const ChannelHandle stuck = open(pair.client, "stuck", pair.now);
  const ChannelHandle fine = open(pair.client, "fine", pair.now);
  pair.settle();
  pair.server.take_at_once = false;
  const std::string megabyte(1 << 20, 's');
  for (int i = 0; i < 8; ++i) pair.client.write(stuck, megabyte);
  pair.settle();
  const ChannelHandle far_stuck = pair.server.seen(Kind::kRequested)[0].channel;
  CHECK(pair.server.received[far_stuck].size() == kInitialWindow);
  pair.server.take_at_once = true;
  pair.client.write(fine, megabyte);
  pair.settle();
  CHECK(pair.server.received[pair.server.seen(Kind::kRequested)[1].channel].size() == megabyte.size());
  CHECK(pair.server.received[far_stuck].size() == kInitialWindow);
  // The app wakes up: everything comes.
  pair.server.mux->consumed(far_stuck, kInitialWindow, pair.now);
  pair.settle();
  CHECK(pair.server.received[far_stuck].size() == 8 * megabyte.size());
}

TEST_CASE("windows: how far they grow depends on the path's round trip") {
  using std::chrono::microseconds;
  CHECK(max_window_for(microseconds(0)) == kShortPathWindow);
  CHECK(max_window_for(microseconds(100)) == kShortPathWindow);
  CHECK(max_window_for(microseconds(1'000)) == 1'000 * kFillRate);
  CHECK(max_window_for(microseconds(10'000)) == kMaxWindow);
  CHECK(max_window_for(microseconds::max()) == kMaxWindow);

  WindowPool pool(kMaxConnectionBuffer, kShortPathWindow);
  TimePoint now{};
  ReceiveWindow fast(pool);
  fast.open(now);
  for (int i = 0; i < 40; ++i) {
    fill_and_take(fast, now);
    CHECK(fast.window() <= kShortPathWindow);
  }
  CHECK(fast.window() == kShortPathWindow);
}

TEST_CASE("windows: a fast channel's grows to the maximum, the pool is never passed, idle ones fall back") {
  WindowPool pool(kMaxConnectionBuffer);
  TimePoint now{};
  ReceiveWindow fast(pool);
  fast.open(now);
  for (int i = 0; i < 40; ++i) fill_and_take(fast, now);
  CHECK(fast.window() == kMaxWindow);
  // Forty more that all want much: promised plus held stays within the pool.
  std::vector<std::unique_ptr<ReceiveWindow>> many;
  for (int i = 0; i < 40; ++i) {
    many.push_back(std::make_unique<ReceiveWindow>(pool));
    many.back()->open(now);
    for (int k = 0; k < 20; ++k) fill_and_take(*many.back(), now);
    CHECK(pool.left() >= 0);
  }
  // Idle for long: as its promise is used, the window shrinks.
  now += 60s;
  while (fast.promised() > kInitialWindow) {
    const std::uint32_t n = std::min<std::uint32_t>(fast.promised(), 60'000);
    REQUIRE(fast.received(n).ok());
    fast.consumed(n, now);
  }
  CHECK(fast.window() <= 2 * kInitialWindow);
  many.clear();
  fast.end();
  CHECK(pool.left() == static_cast<std::int64_t>(kMaxConnectionBuffer));
}

TEST_CASE("all ids: the pool still promises 1 KiB to each, and one more open has a clear error") {
  MuxPair pair;
  for (int i = 0; i < 32'767; ++i) open(pair.client, "c", pair.now);
  for (int i = 0; i < 32'767; ++i) open(pair.server, "s", pair.now);
  CHECK(pair.client.mux->open("one more", false, pair.now).error() == Errc::kNoFreeChannel);
  pair.settle();
  CHECK(pair.client.seen(Kind::kOpened).size() == 32'767);
  CHECK(pair.server.seen(Kind::kOpened).size() == 32'767);
  CHECK(pair.client.mux->buffered_bytes() <= kMaxConnectionBuffer);
  CHECK_FALSE(pair.client.error);
  CHECK_FALSE(pair.server.error);
  CHECK(pair.server.mux->open("one more", false, pair.now).error() == Errc::kNoFreeChannel);
}

TEST_CASE("fair order: a small channel waits for few frames behind bulk") {
  MuxPair pair;
  std::vector<ChannelHandle> bulk;
  for (int i = 0; i < 10; ++i) bulk.push_back(open(pair.client, "bulk", pair.now));
  const ChannelHandle small = open(pair.client, "small", pair.now);
  pair.settle();
  for (const ChannelHandle channel : bulk) {
    pair.client.to_send[channel].assign(1 << 20, 'b');
    pair.client.mux->set_ready(channel, true);
  }
  for (int i = 0; i < 30; ++i) REQUIRE(pair.client.mux->next_sender());  // everybody bulk now
  for (int round = 0; round < 5; ++round) {
    pair.client.mux->set_ready(small, true);
    // One turn in five is for those that wait: at most one frame goes before the small channel's.
    const auto first = pair.client.mux->next_sender();
    REQUIRE(first);
    if (first->channel != small) CHECK(pair.client.mux->next_sender()->channel == small);
    pair.client.mux->set_ready(small, false);
  }
  // Turns are shared evenly among the others.
  std::map<ChannelHandle, int> turns;
  for (int i = 0; i < 1'000; ++i) ++turns[pair.client.mux->next_sender()->channel];
  CHECK(turns.size() == 10);
  for (const auto& [channel, n] : turns) CHECK((n == 100));
}

TEST_CASE("fair order: bulk that comes back with new credit waits behind a small channel") {
  MuxPair pair;
  std::vector<ChannelHandle> bulk;
  for (int i = 0; i < 10; ++i) bulk.push_back(open(pair.client, "bulk", pair.now));
  const ChannelHandle small = open(pair.client, "small", pair.now);
  pair.settle();
  for (const ChannelHandle channel : bulk) pair.client.write(channel, std::string(1 << 20, 'b'));
  pair.client.flush(pair.to_server);  // all credit is used up
  REQUIRE_FALSE(pair.client.mux->next_sender());
  pair.deliver_to_server(pair.to_server.size());
  pair.server.flush(pair.to_client);
  pair.deliver_to_client(pair.to_client.size());

  pair.client.mux->set_ready(small, true);
  const auto first = pair.client.mux->next_sender();
  REQUIRE(first);
  if (first->channel != small) CHECK(pair.client.mux->next_sender()->channel == small);
  // One that was bulk, and then had nothing to send, is as good as new.
  pair.client.mux->set_ready(small, false);
  pair.client.mux->set_ready(bulk[5], false);
  pair.client.mux->set_ready(bulk[5], true);
  const auto next = pair.client.mux->next_sender();
  REQUIRE(next);
  if (next->channel != bulk[5]) CHECK(pair.client.mux->next_sender()->channel == bulk[5]);
}

TEST_CASE("many that are always fresh do not starve one that waits") {
  MuxPair pair;
  const ChannelHandle bulk = open(pair.client, "bulk", pair.now);
  const ChannelHandle a = open(pair.client, "a", pair.now);
  const ChannelHandle b = open(pair.client, "b", pair.now);
  pair.settle();
  for (const ChannelHandle channel : {bulk, a, b}) pair.client.mux->set_ready(channel, true);
  int bulk_turns = 0;
  for (int i = 0; i < 100; ++i) {
    const auto turn = pair.client.mux->next_sender();
    REQUIRE(turn);
    bulk_turns += turn->channel == bulk ? 1 : 0;
    if (turn->channel != bulk) {
      pair.client.mux->set_ready(turn->channel, false);
      pair.client.mux->set_ready(turn->channel, true);
    }
  }
  CHECK(bulk_turns >= 20);
}

namespace {
/// One channel of a flow, open.
struct FlowChannel {
  explicit FlowChannel(MuxFlow& flow, ChannelHandle handle)
      : channel(handle, static_cast<WireId>(handle), "x", ChannelState::kOpen, flow.pool()) {}
  Channel channel;
};
constexpr TimePoint kFlowNow{Duration{1'000'000}};
}  // namespace

TEST_CASE("MuxFlow: with credit a channel has its turn when it is ready and has some, and a receive window") {
  MuxFlow flow(true, kMaxConnectionBuffer, kMaxWindow);
  FlowChannel one(flow, 1), two(flow, 2);
  flow.opened(one.channel);
  flow.set_ready(one.channel, true);
  CHECK(flow.nobody());
  REQUIRE(flow.granted(one.channel, 10));
  CHECK(flow.granted(one.channel, 0).error() == Errc::kCreditTooLarge);
  const auto turn = flow.next();
  REQUIRE(turn);
  CHECK((turn->channel == &one.channel && turn->bytes == 10));
  flow.sent(one.channel, 10);
  CHECK(flow.nobody());
  CHECK(one.channel.bulk);  // it has used its credit up

  const std::uint32_t window = flow.first_window(two.channel, kFlowNow);
  CHECK(window == kInitialWindow);
  CHECK(flow.received(two.channel, window + 1, kFlowNow).error() == Errc::kCreditOverrun);
  REQUIRE(flow.received(two.channel, window, kFlowNow));
  CHECK(flow.buffered_bytes() == window - kMinWindow);
  CHECK(flow.consumed(two.channel, window, kFlowNow) > 0);
  flow.ended(two.channel);
  CHECK(flow.buffered_bytes() == 0);
  flow.forget(one.channel);
  flow.forget(two.channel);
}

TEST_CASE("MuxFlow: without credit a channel may send from the beginning, and what is held brakes") {
  MuxFlow flow(false, kMaxConnectionBuffer, kMaxWindow);
  FlowChannel one(flow, 1);
  flow.opened(one.channel);
  flow.set_ready(one.channel, true);
  REQUIRE(flow.next());
  flow.sent(one.channel, kDataQuantum);
  CHECK(one.channel.credit.available() == kMaxCredit);
  flow.set_ready(one.channel, false);
  CHECK(flow.nobody());
  REQUIRE(flow.received(one.channel, kHeldMark, kFlowNow));
  CHECK((flow.deadline() != kNever && flow.buffered_bytes() == kHeldMark));
  CHECK(flow.consumed(one.channel, kHeldMark, kFlowNow) == 0);
  CHECK(flow.buffered_bytes() == 0);
  flow.forget(one.channel);
}
