// SPDX-License-Identifier: GPL-3.0-or-later
// proto/mux.h: keepalive, probes, and going away.
#include <catch2/catch.hpp>

#include "proto/error.h"
#include "proto/mux.h"
#include "tests/sim/mux_pair.h"

using namespace connd::proto;
using connd::tests::MuxPair;
using connd::tests::open;
using Kind = MuxEvent::Kind;
using namespace std::chrono_literals;

TEST_CASE("E1: keepalive: a silent peer is dead within twice the interval, an answering one is not") {
  MuxPair pair;
  pair.settle();
  const TimePoint start = pair.now;
  while (pair.now - start < 10 * kKeepaliveInterval) {
    pair.now = std::max(pair.now, pair.client.mux->next_deadline());
    REQUIRE(pair.client.mux->on_timeout(pair.now).ok());
    REQUIRE(pair.server.mux->on_timeout(pair.now).ok());
    pair.settle();
    pair.now += 3ms;
  }
  CHECK_FALSE(pair.client.error);

  const TimePoint silent_from = pair.now;
  Result<void> alive;
  for (int timeouts = 0; alive.ok(); ++timeouts) {
    REQUIRE(timeouts < 2);  // the ping's, and the end's
    pair.now = std::max(pair.now, pair.client.mux->next_deadline());
    alive = pair.client.mux->on_timeout(pair.now);
    REQUIRE(pair.now - silent_from <= 2 * kKeepaliveInterval);
  }
  CHECK(alive.error() == Errc::kPeerNotAnswering);
}

TEST_CASE("E3: a peer that is probed and does not answer is dead within the probe's time, an answering one is not") {
  MuxPair pair;
  pair.settle();
  pair.client.mux->probe(pair.now);
  CHECK(pair.client.mux->next_deadline() == pair.now + kProbeTime);
  pair.settle();
  CHECK(pair.client.mux->next_deadline() == pair.now + kKeepaliveInterval);
  CHECK(pair.client.mux->on_timeout(pair.now + kProbeTime).ok());

  // No answer any more; asking again puts nothing off, and shortens a ping that was out already.
  const TimePoint silent_from = pair.now;
  pair.now += kKeepaliveInterval;
  REQUIRE(pair.client.mux->on_timeout(pair.now).ok());
  CHECK(pair.client.mux->next_deadline() == silent_from + 2 * kKeepaliveInterval);
  pair.client.mux->probe(pair.now + 1s);
  pair.client.mux->probe(pair.now + 2s);
  CHECK(pair.client.mux->next_deadline() == pair.now + 1s + kProbeTime);
  CHECK(pair.client.mux->on_timeout(pair.now + 1s + kProbeTime).error() == Errc::kPeerNotAnswering);
}

TEST_CASE("E3: a peer that has been silent for the probe's time is doubtful, until something comes") {
  MuxPair pair;
  pair.settle();
  pair.now += kProbeTime - 1ms;
  CHECK_FALSE(pair.client.mux->keepalive().doubtful(pair.now));
  pair.now += 1ms;
  CHECK(pair.client.mux->keepalive().doubtful(pair.now));
  pair.client.mux->probe(pair.now);
  pair.settle();
  CHECK_FALSE(pair.client.mux->keepalive().doubtful(pair.now));
}

TEST_CASE("E1: who still receives what was sent before the ping has more time for it, by the probe's time each time") {
  MuxPair pair;
  pair.settle();
  pair.client.mux->probe(pair.now);
  pair.now += kProbeTime - 1ms;
  pair.client.mux->allow_more_time(pair.now);  // not over yet: nothing to give
  pair.now += 1ms;
  CHECK(pair.client.mux->next_deadline() == pair.now);
  for (int i = 0; i < 3; ++i) {
    pair.client.mux->allow_more_time(pair.now);
    REQUIRE(pair.client.mux->on_timeout(pair.now).ok());
    CHECK(pair.client.mux->next_deadline() == pair.now + kProbeTime);
    pair.now += kProbeTime;
  }
  CHECK(pair.client.mux->on_timeout(pair.now).error() == Errc::kPeerNotAnswering);
}

TEST_CASE("E1: part of a record is a sign of life, too") {
  MuxPair pair;
  pair.settle();
  pair.client.mux->probe(pair.now);
  CHECK(pair.client.mux->keepalive().asking());
  CHECK_FALSE(pair.client.mux->keepalive().answer_due(pair.now));
  pair.now += kProbeTime;
  CHECK(pair.client.mux->keepalive().answer_due(pair.now));
  pair.client.mux->heard(pair.now);
  CHECK_FALSE(pair.client.mux->keepalive().asking());
  CHECK_FALSE(pair.client.mux->keepalive().doubtful(pair.now));
  CHECK(pair.client.mux->on_timeout(pair.now).ok());
  CHECK(pair.client.mux->next_deadline() == pair.now + kKeepaliveInterval);
}

TEST_CASE("the round trip is measured by keepalives") {
  MuxPair pair;
  pair.settle();
  pair.now = pair.client.mux->next_deadline();
  REQUIRE(pair.client.mux->on_timeout(pair.now).ok());
  pair.client.flush(pair.to_server);
  pair.now += 7ms;
  pair.settle();
  CHECK(pair.client.mux->keepalive().round_trip() == 7ms);
}

TEST_CASE("goaway: no new requests, open channels finish, the rest is cut after the stated time") {
  MuxPair pair;
  const ChannelHandle a = open(pair.client, "a", pair.now);
  pair.settle();
  pair.server.mux->go_away(Reason::kIdle, "idle", pair.now);
  // A request that crosses it is refused, not lost.
  open(pair.client, "crossing", pair.now);
  pair.settle();
  REQUIRE(pair.client.seen(Kind::kGoAway).size() == 1);
  REQUIRE(pair.client.seen(Kind::kRefused).size() == 1);
  CHECK(pair.client.seen(Kind::kRefused)[0].reason == Reason::kShuttingDown);
  CHECK(pair.client.mux->open("b", false, pair.now).error() == Errc::kGoingAway);
  CHECK_FALSE(pair.server.mux->finished(pair.now));
  pair.client.write(a, "still works");
  pair.settle();
  CHECK(pair.server.received.begin()->second == "still works");
  CHECK(pair.server.mux->finished(pair.now + kGoAwayTime));
  CHECK_FALSE(pair.client.mux->finished(pair.now));
  pair.client.mux->finish(a);
  pair.server.mux->finish(pair.server.seen(Kind::kRequested)[0].channel);
  pair.settle();
  CHECK(pair.server.mux->finished(pair.now));
  CHECK(pair.client.mux->finished(pair.now));
}

TEST_CASE("goaway: the stated time is over also after the deadline was served") {
  MuxPair pair;
  open(pair.client, "a", pair.now);
  pair.settle();
  pair.server.mux->go_away(Reason::kIdle, "", pair.now);
  pair.settle();
  pair.now += kGoAwayTime - 1ms;
  CHECK(pair.server.mux->on_timeout(pair.now).ok());
  CHECK_FALSE(pair.server.mux->finished(pair.now));
  pair.now += 1ms;
  CHECK(pair.server.mux->on_timeout(pair.now).ok());
  CHECK(pair.client.mux->on_timeout(pair.now).ok());
  CHECK(pair.server.mux->finished(pair.now));
  CHECK(pair.client.mux->finished(pair.now));
  CHECK(pair.server.mux->next_deadline() > pair.now);
}
