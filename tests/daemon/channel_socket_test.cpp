// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/channel_socket.h"

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
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }, 5s));
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
  // Until no credit is left: nothing has been taken for many turns of the loop.
  const std::string chunk(65'536, 's');
  int idle_turns = 0;
  REQUIRE(two.world.run_until([&] {
    two.world.loop.post([] {});
    const ssize_t n = ::send(a.fd.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    idle_turns = n > 0 ? 0 : idle_turns + 1;
    return idle_turns == 2'000;
  }));
  a.fd.reset();
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }, 5s));
  CHECK((two.alice.ended[0].reason == Reason::kCancelled));
  CHECK((two.bob.ended[0].reason == Reason::kReset));
}
