// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connection_life.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/daemon/log_lines.h"

using namespace connd;
using namespace connd::daemon;
using connd::test::LogLines;
using proto::Reason;

TEST_CASE("ConnectionLife: each change is logged, from -> to, and the first end counts") {
  const LogLines log;
  ConnectionLife life(7, {});
  CHECK_FALSE((life.up() || life.ending()));
  life.move_to(ConnectionState::kGreeting);
  life.move_to(ConnectionState::kUp);
  CHECK(life.up());
  CHECK(life.end(Reason::kTimedOut, "too long", proto::Errc::kPeerNotAnswering));
  CHECK_FALSE(life.end(Reason::kBanned, "banned", {}));
  CHECK((life.ending() && !life.up()));
  CHECK((life.reason() == Reason::kTimedOut && life.text() == "too long"));
  CHECK(life.error() == proto::Errc::kPeerNotAnswering);
  life.move_to(ConnectionState::kDraining);
  life.move_to(ConnectionState::kDown);
  CHECK(log.values("connection=7 ", "state=") == std::vector<std::string>{"handshaking->greeting", "greeting->up",
                                                                          "up->closing", "closing->draining",
                                                                          "draining->down"});
}

TEST_CASE("ConnectionLife: channels end with the connection's reason, or were lost when it ended well") {
  const auto reason_after = [](Reason reason) {
    ConnectionLife life(1, {});
    CHECK(life.end(reason, {}, {}));
    return life.reason_for_channels();
  };
  CHECK((reason_after(Reason::kBanned) == Reason::kBanned));
  CHECK((reason_after(Reason::kClosed) == Reason::kConnectionLost));
  CHECK((reason_after(Reason::kIdle) == Reason::kConnectionLost));
}

TEST_CASE("ConnectionLife: one that is ending already has nothing to drain") {
  ConnectionLife first(1, {}), late(2, {});
  first.drain();
  CHECK(first.end(Reason::kClosed, {}, {}));
  CHECK(first.drains());
  CHECK(late.end(Reason::kClosed, {}, {}));
  late.drain();
  CHECK_FALSE(late.drains());
}

TEST_CASE("ConnectionLife: the reason that was announced is the one of an end without another") {
  ConnectionLife life(1, {});
  life.will_end(Reason::kShuttingDown);
  CHECK(life.end(life.reason(), "the peer closed the connection", {}));
  CHECK((life.reason() == Reason::kShuttingDown));
}
