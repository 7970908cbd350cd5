// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/channel_socket.h"

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

/// Until bytes for the app lie in its socket.
void wait_unread(World& world, int fd) {
  char byte;
  REQUIRE(world.run_until([&] { return ::recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1; }));
}

/// Writes until nothing has been taken for many turns of the loop.
void use_up_credit(World& world, int fd) {
  const std::string chunk(65'536, 's');
  int idle_turns = 0;
  REQUIRE(world.run_until([&] {
    world.loop.post([] {});
    const ssize_t n = ::send(fd, chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    idle_turns = n > 0 ? 0 : idle_turns + 1;
    return idle_turns == 2'000;
  }));
}

/// Long enough for what happened to an fd to be seen.
void run_turns(World& world) {
  int turns = 0;
  REQUIRE(world.run_until([&] {
    world.loop.post([] {});
    return ++turns == 50;
  }));
}

}  // namespace

TEST_CASE("C3: an app that has ended its writing and dies with unread data is a reset, not an end") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  OpenedChannel& a = opened(result);
  ipc::Fd b = std::move(two.bob.accepted.at(0).fd);
  REQUIRE(shutdown(a.fd.get(), SHUT_WR) == 0);
  CHECK(read_to_end(two.world, b.get()).empty());
  write_all(two.world, b.get(), "unread");
  wait_unread(two.world, a.fd.get());
  a.fd.reset();
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == Reason::kCancelled));
  CHECK((two.bob.ended[0].reason == Reason::kReset));
}

TEST_CASE("C3: an app that dies with unread data is a reset also when the peer takes nothing of what it wrote") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  OpenedChannel& a = opened(result);
  ipc::Fd b = std::move(two.bob.accepted.at(0).fd);
  write_all(two.world, b.get(), "unread");
  wait_unread(two.world, a.fd.get());
  use_up_credit(two.world, a.fd.get());
  a.fd.reset();
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == Reason::kCancelled));
  CHECK((two.bob.ended[0].reason == Reason::kReset));
}

TEST_CASE("C4: a finish that is read only after the app's end was seen to be closed is a clean end") {
  Two two;
  two.bob.strict = true;
  auto result = two.alice.open(two.bob, "x", false, true);
  OpenedChannel& a = opened(result);
  Node::Accepted& b = two.bob.accepted.at(0);
  CHECK(two.bob.manager->channels().finish(b.channel));
  CHECK(read_to_end(two.world, a.fd.get()).empty());
  const bool shut_down_first = GENERATE(false, true);
  if (shut_down_first) {
    REQUIRE(shutdown(a.fd.get(), SHUT_WR) == 0);
    run_turns(two.world);
  } else {
    write_all(two.world, a.fd.get(), "all of it");
  }
  a.fd.reset();
  run_turns(two.world);
  CHECK(two.alice.ended.empty());
  const bool finishes = GENERATE(true, false);
  if (finishes) CHECK(two.alice.manager->channels().finish(a.channel));
  CHECK(read_to_end(two.world, b.fd.get()) == (shut_down_first ? "" : "all of it"));
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == (finishes ? Reason::kClosed : Reason::kCancelled)));
  CHECK((two.bob.ended[0].reason == (finishes ? Reason::kClosed : Reason::kReset)));
}

TEST_CASE("fault C8: a finish that lies unread behind much else for more than a second is a clean end all the same") {
  Two two;
  two.bob.strict = true;
  two.alice.behind = true;
  auto result = two.alice.open(two.bob, "x", false, true);
  OpenedChannel& a = opened(result);
  Node::Accepted& b = two.bob.accepted.at(0);
  CHECK(two.bob.manager->channels().finish(b.channel));
  CHECK(read_to_end(two.world, a.fd.get()).empty());
  write_all(two.world, a.fd.get(), "all of it");
  a.fd.reset();
  bool late = false;
  Timer grace(two.world.loop, [&] { late = true; });
  two.world.loop.update_now();
  grace.arm_in(ChannelSocket::kFinishGrace + 300ms);
  REQUIRE(two.world.run_until([&] { return late; }));
  CHECK(two.alice.ended.empty());
  const bool finishes = GENERATE(true, false);
  if (finishes) {
    CHECK(two.alice.manager->channels().finish(a.channel));
  } else {
    two.alice.behind = false;  // all is read, and there was none
  }
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == (finishes ? Reason::kClosed : Reason::kCancelled)));
}

TEST_CASE("fault C10: bytes out of band are not carried, and hold nothing up that is before or behind them") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  OpenedChannel& a = opened(result);
  ipc::Fd b = std::move(two.bob.accepted.at(0).fd);
  run_turns(two.world);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(::send(a.fd.get(), "before", 6, MSG_NOSIGNAL) == 6);
    if (::send(a.fd.get(), "!", 1, MSG_NOSIGNAL | MSG_OOB) != 1) return;  // a kernel that knows none
    REQUIRE(::send(a.fd.get(), "behind", 6, MSG_NOSIGNAL) == 6);
    CHECK(read_exactly(two.world, b.get(), 12) == "beforebehind");
  }
  REQUIRE(shutdown(a.fd.get(), SHUT_WR) == 0);
  CHECK(read_to_end(two.world, b.get()).empty());
}

TEST_CASE("C3: strict ends: an app that dies is a reset also when the peer takes nothing of what it wrote") {
  Two two;
  auto result = two.alice.open(two.bob, "x", false, true);
  OpenedChannel& a = opened(result);
  use_up_credit(two.world, a.fd.get());
  a.fd.reset();
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == Reason::kCancelled));
  CHECK((two.bob.ended[0].reason == Reason::kReset));
}
