// SPDX-License-Identifier: GPL-3.0-or-later
// B5: every id of both sides at once, over real TLS in memory.
#include <set>

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/proto/tls_pair.h"
#include "tests/sim/mux_pair.h"

using namespace connd;
using namespace connd::proto;
using namespace connd::test;
using connd::tests::MuxEnd;
using Kind = MuxEvent::Kind;

namespace {

constexpr std::size_t kEachSide = 32'767;
/// Well below what TLS keeps for the wire.
constexpr std::size_t kPart = 128 * 1024;

MuxConfig of_side(MuxSide side) {
  MuxConfig config;
  config.side = side;
  return config;
}

/// Two muxes, each on its end of a TLS connection. A tenth of a second passes with each exchange: the buckets of
/// requests are for peers that never rest.
struct SecurePair {
  SecurePair() { tls.connect(); }

  void carry(MuxEnd& from, TlsSession& session, ByteVector& arrived, MuxEnd& to) {
    ByteVector wire;
    from.flush(wire);
    moved = moved || !wire.empty();
    for (std::size_t at = 0; at < wire.size(); at += kPart) {
      REQUIRE(session.write(Bytes(wire).subspan(at, std::min(kPart, wire.size() - at))));
      tls.settle();
      to.receive(std::exchange(arrived, {}));
    }
  }

  void settle() {
    do {
      moved = false;
      carry(client, tls.client, tls.server_got, server);
      carry(server, tls.server, tls.client_got, client);
      now += Duration(100);
    } while (moved);
    REQUIRE_FALSE(client.error);
    REQUIRE_FALSE(server.error);
  }

  TlsPair tls;
  TimePoint now{Duration{1'000'000}};
  MuxEnd client{of_side(MuxSide::kClient), now};
  MuxEnd server{of_side(MuxSide::kServer), now};
  bool moved = false;
};

std::vector<ChannelHandle> open_all(MuxEnd& end, TimePoint now) {
  std::vector<ChannelHandle> handles;
  for (std::size_t i = 0; i < kEachSide; ++i) {
    const auto opened = end.mux->open("c", false, now);
    REQUIRE(opened.ok());
    handles.push_back(opened->channel);
  }
  return handles;
}

std::string word_of(ChannelHandle channel) {
  std::string word = std::to_string(channel);
  return std::string(32 - word.size(), '.') + word;
}

/// What has come on channels that the peer opened goes back.
void echo(MuxEnd& end, const std::vector<ChannelHandle>& own) {
  const std::set<ChannelHandle> ours(own.begin(), own.end());
  for (const auto& [channel, bytes] : end.received) {
    if (ours.count(channel) == 0) end.write(channel, bytes);
  }
}

std::vector<ChannelHandle> all_of(const MuxEnd& end) {
  std::vector<ChannelHandle> out;
  for (const auto& [channel, bytes] : end.received) out.push_back(channel);
  return out;
}

}  // namespace

TEST_CASE("B5: all 65,534 ids over real TLS: opened, echoed, closed, and again") {
  SecurePair pair;
  pair.settle();
  for (int round = 0; round < 2; ++round) {
    const auto from_client = open_all(pair.client, pair.now);
    const auto from_server = open_all(pair.server, pair.now);
    CHECK(pair.client.mux->open("one more", false, pair.now).error() == Errc::kNoFreeChannel);
    CHECK(pair.server.mux->open("one more", false, pair.now).error() == Errc::kNoFreeChannel);
    pair.settle();
    REQUIRE(pair.client.seen(Kind::kOpened).size() == kEachSide);
    REQUIRE(pair.server.seen(Kind::kOpened).size() == kEachSide);
    CHECK(pair.client.mux->buffered_bytes() <= kMaxConnectionBuffer);

    for (const ChannelHandle channel : from_client) pair.client.write(channel, word_of(channel));
    for (const ChannelHandle channel : from_server) pair.server.write(channel, word_of(channel));
    pair.settle();
    echo(pair.client, from_client);
    echo(pair.server, from_server);
    pair.settle();
    std::size_t wrong = 0;
    for (const ChannelHandle channel : from_client) wrong += pair.client.received[channel] != word_of(channel);
    for (const ChannelHandle channel : from_server) wrong += pair.server.received[channel] != word_of(channel);
    CHECK(wrong == 0);

    for (MuxEnd* end : {&pair.client, &pair.server}) {
      for (const ChannelHandle channel : all_of(*end)) end->mux->finish(channel);
    }
    pair.settle();
    for (MuxEnd* end : {&pair.client, &pair.server}) {
      CHECK(end->seen(Kind::kEnd).size() == 2 * kEachSide);
      for (const ChannelHandle channel : all_of(*end)) end->mux->release(channel);
      CHECK(end->mux->channel_count() == 0);
      end->events.clear();
      end->received.clear();
      end->to_send.clear();
    }
  }
}
