// SPDX-License-Identifier: GPL-3.0-or-later
// The mux in Jami's dialect. Chance in all orders: mux_random_test.cpp.
#include <catch2/catch.hpp>

#include "proto/error.h"
#include "proto/jami_frame.h"
#include "tests/proto/decode_pieces.h"
#include "tests/sim/mux_pair.h"

using namespace connd::proto;
using connd::tests::MuxEnd;
using connd::tests::MuxPair;
using connd::tests::open;
using Kind = MuxEvent::Kind;
using namespace std::chrono_literals;

namespace {

/// An end to which a test speaks raw messages; its version message is taken off.
struct RawJamiPeer {
  TimePoint now{Duration{5'000}};
  MuxEnd end;
  ByteVector out;

  explicit RawJamiPeer(MuxConfig config = {}) : end(config, now, jami_dialect()) {
    CHECK(replies() == " 0/65535:81a17601");
  }
  void say(const control::Message& message) {
    ByteVector bytes;
    jami::encode(message, bytes);
    end.receive(bytes);
  }
  void raw(std::string_view hex) { end.receive(connd::tests::hex_bytes(hex)); }
  void data(WireId channel, std::size_t size) {
    ByteVector bytes(JamiFrameCodec::kHeaderBytes + size);
    JamiFrameCodec().write_header(bytes.data(), channel, size);
    end.receive(bytes);
  }
  void end_of(WireId channel) { data(channel, 0); }
  /// All that the end has sent since the last call.
  std::string replies() {
    end.flush(out);
    std::string text = connd::tests::decode_pieces<JamiFrameCodec>(out, out.size());
    out.clear();
    return text;
  }
  ChannelHandle offered(WireId id, const std::string& name) {
    say(control::ChannelRequest{name, id, false});
    const auto requested = end.seen(Kind::kRequested);
    REQUIRE_FALSE(requested.empty());
    return requested.back().channel;
  }
};

}  // namespace

TEST_CASE("Jami's dialect: open, data both ways, the end of both directions") {
  MuxPair pair({}, {}, jami_dialect);
  CHECK(pair.client.mux->hello_received());  // it does not wait for anything
  const auto [a, b] = connd::tests::open_and_talk(pair, "sip");

  pair.client.mux->finish(a);
  CHECK(pair.client.mux->channel_count() == 0);
  pair.settle();
  CHECK(pair.server.seen(Kind::kEnd).size() == 1);
  CHECK(pair.client.seen(Kind::kEnd).empty());  // nothing is sent back
  CHECK(pair.server.mux->channel_count() == 0);
  pair.client.mux->release(a);
  pair.server.mux->release(b);
  CHECK_FALSE(pair.client.error);
  CHECK_FALSE(pair.server.error);
}

TEST_CASE("Jami's dialect: declined, with the one reason there is; busy ids are passed over") {
  MuxPair pair({}, {}, jami_dialect);
  pair.server.accept_all = false;
  open(pair.client, "echo", pair.now);
  pair.settle();
  pair.server.mux->refuse(pair.server.seen(Kind::kRequested)[0].channel, Reason::kNoListener, "nobody");
  pair.settle();
  const auto refused = pair.client.seen(Kind::kRefused);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].reason == Reason::kDeclined);
  CHECK(refused[0].text.empty());
  CHECK(pair.client.mux->channel_count() == 0);
}

TEST_CASE("Jami's dialect: ids from either half, from either side, and answers in any order") {
  RawJamiPeer peer;
  peer.end.accept_all = false;
  const ChannelHandle low = peer.offered(1, "a");
  const ChannelHandle high = peer.offered(40'000, "b");
  CHECK(peer.end.mux->accept(high, peer.now));
  CHECK(peer.end.mux->accept(low, peer.now));
  CHECK(peer.replies() == " 0/0:93a162cd9c4001 0/0:93a1610101");
  const ChannelHandle ours = open(peer.end, "c", peer.now);
  CHECK(ours != 0);
  CHECK(peer.replies() == " 0/0:93a1630200");  // 1 is taken
}

TEST_CASE("Jami's dialect: EOF frees the id at once; data and EOF for what is not open is ignored") {
  RawJamiPeer peer;
  peer.data(9, 100);
  peer.end_of(9);
  peer.offered(9, "a");
  CHECK(peer.replies() == " 0/0:93a1610901");
  peer.end_of(9);
  peer.data(9, 100);
  peer.end_of(9);
  CHECK(peer.end.seen(Kind::kEnd).size() == 1);
  peer.offered(9, "again");
  CHECK(peer.replies() == " 0/0:93a5616761696e0901");
  CHECK_FALSE(peer.end.error);
}

TEST_CASE("Jami's dialect: an abort is an EOF") {
  RawJamiPeer peer;
  const ChannelHandle a = peer.offered(9, "a");
  (void)peer.replies();
  peer.end.mux->reset(a, Reason::kCancelled, "");
  CHECK(peer.replies() == " 2/9:");
  CHECK(peer.end.mux->channel_count() == 0);
}

TEST_CASE("B13 in Jami's dialect: a cancelled open waits for its answer with nobody to hear it") {
  RawJamiPeer peer;
  const ChannelHandle a = open(peer.end, "a", peer.now);
  CHECK(peer.replies() == " 0/0:93a1610100");
  peer.end.mux->reset(a, Reason::kCancelled, "");
  CHECK(peer.replies().empty());
  CHECK(peer.end.mux->channel_count() == 0);  // it does not keep the connection
  SECTION("accepted: ended at once") {
    peer.say(control::ChannelRequest{"a", 1, true});
    CHECK(peer.replies() == " 2/1:");
  }
  SECTION("declined") {
    peer.say(control::Refuse{1, 0, "", "a"});
    CHECK(peer.replies().empty());
  }
  CHECK(peer.end.events.empty());
  CHECK(peer.end.mux->channel_count() == 0);
  CHECK_FALSE(peer.end.error);
}

TEST_CASE("Jami's dialect: a request that its sender ends before the answer is over") {
  RawJamiPeer peer;
  peer.end.accept_all = false;
  const ChannelHandle a = peer.offered(9, "a");
  peer.end_of(9);
  CHECK(peer.end.seen(Kind::kCancelled).size() == 1);
  CHECK_FALSE(peer.end.mux->accept(a, peer.now));
}

TEST_CASE("B11 in Jami's dialect: requests for ids that are not free") {
  RawJamiPeer peer;
  peer.offered(9, "a");
  (void)peer.replies();
  SECTION("open: ignored") {
    peer.say(control::ChannelRequest{"b", 9, false});
    CHECK(peer.replies().empty());
  }
  SECTION("both asked at once: each hears of its own") {
    open(peer.end, "ours", peer.now);
    CHECK(peer.replies() == " 0/0:93a46f7572730100");
    peer.say(control::ChannelRequest{"theirs", 1, false});
    CHECK(peer.replies() == " 0/0:93a67468656972730102");
    peer.say(control::Refuse{1, 0, "", "theirs"});  // not ours
    CHECK(peer.end.seen(Kind::kRefused).empty());
    peer.say(control::ChannelRequest{"ours", 1, true});
    CHECK(peer.end.seen(Kind::kOpened).size() == 1);
  }
  SECTION("reserved") {
    peer.say(control::ChannelRequest{"b", 0, false});
    peer.say(control::ChannelRequest{"b", 65'535, false});
    peer.raw("9200c40a93a162ce0001000000");
    CHECK(peer.replies().empty());
  }
  CHECK_FALSE(peer.end.seen(Kind::kViolation).empty());
  CHECK(peer.end.seen(Kind::kRequested).size() == 1);
  CHECK_FALSE(peer.end.error);
}

TEST_CASE("Jami's dialect: answers for ids that nobody asked for are ignored") {
  RawJamiPeer peer;
  peer.say(control::ChannelRequest{"x", 5, true});
  peer.say(control::Refuse{6, 0, "", "x"});
  CHECK(peer.end.events.empty());
  CHECK_FALSE(peer.end.error);
}

TEST_CASE("Jami's dialect: names that cannot be are declined") {
  RawJamiPeer peer;
  peer.raw("9200c40693a2c0af0300");
  CHECK(peer.replies() == " 0/0:93a2c0af0302");
  CHECK_FALSE(peer.end.error);
}

TEST_CASE("E1 in Jami's dialect: beacons are answered, on either control channel, and sent to who answers them") {
  RawJamiPeer peer;
  peer.raw("92cdffffc40481a170c3");
  CHECK(peer.replies() == " 0/65535:81a170c2");
  peer.raw("9200c40481a170c3");
  CHECK(peer.replies() == " 0/65535:81a170c2");

  SECTION("E2: not to a peer that has not said its version, or said an old one, even on doubt") {
    if (GENERATE(false, true)) peer.raw("92cdffffc40481a17600");
    peer.end.mux->probe(peer.now);
    CHECK(peer.end.mux->next_deadline() == kNever);
    CHECK(peer.replies().empty());
    peer.now += 1h;
    peer.end.mux->probe(peer.now);
    CHECK(peer.end.mux->on_timeout(peer.now).ok());
    CHECK(peer.replies().empty());
  }
  SECTION("one that has") {
    peer.raw("92cdffffc40481a17601");
    peer.now += kBeaconInterval;
    CHECK(peer.end.mux->next_deadline() == peer.now);
    CHECK(peer.end.mux->on_timeout(peer.now).ok());
    CHECK(peer.replies() == " 0/65535:81a170c3");
    SECTION("answers") {
      peer.now += 40ms;
      peer.raw("92cdffffc40481a170c2");
      CHECK(peer.end.mux->keepalive().round_trip() == Duration{40});
    }
    SECTION("or is dead") {
      peer.now += kBeaconInterval;
      CHECK(peer.end.mux->on_timeout(peer.now).error() == Errc::kPeerNotAnswering);
    }
  }
}

TEST_CASE("B14 in Jami's dialect: beacons without end, unknown maps without end") {
  const auto message = GENERATE(as<std::string>{}, "92cdffffc40481a170c3", "92cdffffc40481a170c2", "9200c40481a17801",
                                "92cdffffc40481a17601", "9200c40593a1780507", "9200c40593a1780501");
  RawJamiPeer peer;
  int sent = 0;
  while (!peer.end.error && sent < 1'000'000) {
    peer.raw(message);
    ++sent;
    if (sent % 1'000 == 0) (void)peer.replies();
  }
  CHECK(peer.end.error == Errc::kControlFlood);
  CHECK(sent > static_cast<int>(kNoiseBurst));
  CHECK(sent < static_cast<int>(2 * kNoiseBurst));
}

TEST_CASE("Jami's dialect: what is no message, or no control object, ends the connection") {
  const auto [stream, error] = GENERATE(table<std::string, Errc>({
      {"c1", Errc::kBadJamiFrame},
      {"9201c6ffffffff", Errc::kBadJamiFrame},
      {"9200c400", Errc::kEmptyControlFrame},
      {"9200c401c1", Errc::kBadMsgpack},
      {"9200c40101", Errc::kBadControlObject},
      {"92cdffffc40481a17001", Errc::kBadControlObject},
  }));
  RawJamiPeer peer;
  peer.raw(stream);
  CHECK(peer.end.error == error);
}

TEST_CASE("D2: a channel whose app does not read slows the connection down, and then stalls") {
  RawJamiPeer peer;
  peer.end.take_at_once = false;
  const ChannelHandle stuck = peer.offered(1, "stuck");
  const ChannelHandle other = peer.offered(2, "other");
  std::size_t sent = 0;
  for (; !peer.end.mux->reading_stopped(); sent += 65'535) peer.data(1, 65'535);
  CHECK(sent >= kHeldMark);
  CHECK(sent < kHeldMark + 65'535);
  CHECK(sent <= peer.end.mux->max_held());
  CHECK(peer.end.mux->buffered_bytes() == sent);
  CHECK(peer.end.mux->next_deadline() == peer.now + kSipInterval);
  (void)peer.replies();

  SECTION("it stalls; beacons are answered until then") {
    const TimePoint began = peer.now;
    while (peer.now < began + kStopTime) {
      CHECK(peer.end.mux->reading_stopped());
      CHECK(peer.end.seen(Kind::kReset).empty());
      peer.now = peer.end.mux->next_deadline();
      CHECK(peer.end.mux->on_timeout(peer.now).ok());
      for (; !peer.end.mux->reading_stopped() && peer.now < began + kStopTime; sent += 65'535) peer.data(1, 65'535);
      if (peer.now < began + kStopTime) {
        peer.raw("92cdffffc40481a170c3");
        CHECK(peer.replies() == " 0/65535:81a170c2");
      }
    }
    CHECK(sent <= kHeldMark + (kStopTime / kSipInterval) * (kSipBytes + 65'535));
    CHECK_FALSE(peer.end.mux->reading_stopped());
    peer.end.receive({});
    const auto reset = peer.end.seen(Kind::kReset);
    REQUIRE(reset.size() == 1);
    CHECK(reset[0].channel == stuck);
    CHECK(reset[0].reason == Reason::kStalled);
    CHECK(peer.replies() == " 2/1:");
    CHECK(peer.end.mux->buffered_bytes() == 0);
    peer.data(1, 65'535);  // on its way already
    peer.data(2, 10);
    CHECK(peer.end.received[other].size() == 10);
    CHECK(peer.end.mux->buffered_bytes() == 10);
  }
  SECTION("fault J1: it reads on, and is stuck again soon: that is another stop") {
    for (int i = 0; i < 10; ++i) {
      peer.end.mux->consumed(stuck, sent, peer.now);
      CHECK_FALSE(peer.end.mux->reading_stopped());
      for (sent = 0; !peer.end.mux->reading_stopped(); sent += 65'535) peer.data(1, 65'535);
      CHECK(sent >= kHeldMark);
    }
    CHECK(peer.end.seen(Kind::kReset).empty());
  }
  CHECK_FALSE(peer.end.error);
}

TEST_CASE("fault J1: a peer that has been asked is not dead because its answer is not read") {
  MuxConfig config;
  config.max_buffer = 2 * kHeldMark;
  RawJamiPeer peer(config);
  peer.end.take_at_once = false;
  peer.raw("92cdffffc40481a17601");
  const ChannelHandle slow = peer.offered(1, "slow");
  // No room for further sips.
  while (peer.end.mux->buffered_bytes() < config.max_buffer) peer.data(1, 65'535);
  peer.end.mux->probe(peer.now);
  const TimePoint asked = peer.now;
  while (peer.now < asked + 4 * kProbeTime) {
    CHECK(peer.end.mux->reading_stopped());
    peer.now = peer.end.mux->next_deadline();
    REQUIRE(peer.end.mux->on_timeout(peer.now).ok());
    peer.end.mux->consumed(slow, kStopTake / 32, peer.now);
    while (!peer.end.mux->reading_stopped()) peer.end.mux->probe(peer.now), peer.data(1, 65'535);
  }
  CHECK(peer.end.seen(Kind::kReset).empty());
  peer.end.mux->probe(peer.now);
  peer.end.mux->consumed(slow, config.max_buffer, peer.now);
  CHECK_FALSE(peer.end.mux->reading_stopped());
  peer.now += kProbeTime;
  CHECK(peer.end.mux->on_timeout(peer.now).error() == Errc::kPeerNotAnswering);
}

TEST_CASE("D2: what waits for an app whose channel has ended stays, and is counted until it is taken") {
  RawJamiPeer peer;
  peer.end.take_at_once = false;
  const ChannelHandle a = peer.offered(1, "a");
  peer.data(1, 1'000);
  peer.end_of(1);
  CHECK(peer.end.seen(Kind::kEnd).size() == 1);
  CHECK(peer.end.mux->buffered_bytes() == 1'000);
  peer.end.mux->consumed(a, 1'000, peer.now);
  peer.end.mux->release(a);
  CHECK(peer.end.mux->buffered_bytes() == 0);
}

TEST_CASE("D2: channels that have ended on the wire count: a peer that ends each in time passes no bound") {
  constexpr std::size_t kBody = 65'535;
  MuxConfig config;
  config.max_buffer = std::uint64_t{16} << 20;
  RawJamiPeer peer(config);
  peer.end.take_at_once = false;
  // What their apps hold, ended on the wire or not, for all that the mux may think.
  const auto held = [&] {
    std::size_t sum = 0;
    for (const auto& [channel, bytes] : peer.end.received) sum += bytes.size();
    for (const auto& reset : peer.end.seen(Kind::kReset)) sum -= peer.end.received[reset.channel].size();
    return sum;
  };
  for (WireId id = 1; id <= 12; ++id) {
    peer.offered(id, "c" + std::to_string(id));
    for (std::size_t sent = 0; sent < (std::size_t{7} << 20); sent += kBody) {
      while (peer.end.mux->reading_stopped()) {
        peer.now = peer.end.mux->next_deadline();
        CHECK(peer.end.mux->on_timeout(peer.now).ok());
        peer.end.receive({});
      }
      peer.data(id, kBody);
    }
    peer.end_of(id);
    CHECK(held() <= config.max_buffer + kBody);
    CHECK(peer.end.mux->buffered_bytes() == held());
  }
  const auto reset = peer.end.seen(Kind::kReset);
  CHECK(reset.size() >= 10);
  CHECK(std::all_of(reset.begin(), reset.end(), [](const auto& seen) { return seen.reason == Reason::kStalled; }));
  CHECK_FALSE(peer.end.error);
}

TEST_CASE("D2: a channel that held too much, and then ended, gets no more: its app may take its time") {
  RawJamiPeer peer;
  peer.end.take_at_once = false;
  const ChannelHandle a = peer.offered(1, "a");
  while (!peer.end.mux->reading_stopped()) peer.data(1, 65'535);
  const std::size_t held = peer.end.received[a].size();
  peer.end_of(1);  // of the same read
  CHECK_FALSE(peer.end.mux->reading_stopped());
  peer.now += 2 * kStopTime;
  CHECK(peer.end.mux->on_timeout(peer.now).ok());
  peer.end.receive({});
  CHECK(peer.end.seen(Kind::kReset).empty());
  CHECK(peer.end.mux->buffered_bytes() == held);  // as before the time was over
  peer.end.mux->consumed(a, held, peer.now);
  peer.end.mux->release(a);
  CHECK(peer.end.mux->buffered_bytes() == 0);
}

TEST_CASE("Jami's dialect: a connection that goes away declines") {
  RawJamiPeer peer;
  peer.offered(1, "a");
  (void)peer.replies();
  peer.end.mux->go_away(Reason::kIdle, "", peer.now);
  CHECK(peer.replies().empty());  // the dialect has no word for it
  peer.say(control::ChannelRequest{"b", 2, false});
  CHECK(peer.replies() == " 0/0:93a1620202");
  CHECK(peer.end.mux->open("c", false, peer.now).error() == Errc::kGoingAway);
  CHECK_FALSE(peer.end.mux->finished(peer.now));
  peer.end_of(1);
  CHECK(peer.end.mux->finished(peer.now));
}
