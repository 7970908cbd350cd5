// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection/connection_manager.h: what still goes to the peers when the daemon stops.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "daemon/connection/connection_manager.h"
#include "daemon/link/tls_link.h"
#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

/// The socket of the node's one connection.
int socket_of(const Node& node) {
  int fd = -1;
  node.manager->each_connection(
      [&](const ConnectionView& view) { fd = dynamic_cast<const TlsLink&>(view.socket->link()).fd(); });
  REQUIRE(fd >= 0);
  return fd;
}

void make_small(int fd, int option) {
  const int size = 1;  // the least there is: some KiB
  REQUIRE(::setsockopt(fd, SOL_SOCKET, option, &size, sizeof size) == 0);
}

/// Alice and Bob with a channel that Bob's app has finished, and sockets between them that hold little.
struct Stopping : Two {
  OpenResult result = alice.open(bob, "x");
  const int near = socket_of(alice);
  const int far = socket_of(bob);
  Stopping() {
    REQUIRE(::shutdown(bob.accepted.at(0).fd.get(), SHUT_WR) == 0);
    CHECK(read_to_end(world, opened(result).fd.get()).empty());
    make_small(near, SO_SNDBUF);
    make_small(far, SO_RCVBUF);
  }
  /// Alice's app sends `data` and ends; true as soon as her side has said `closed`, and most of it is still here.
  bool closed_before_sent(const std::string& data) {
    write_all(world, opened(result).fd.get(), data);
    opened(result).fd.reset();
    return world.run_until([&] { return alice.ended.size() == 1; }) && alice.ended[0].reason == Reason::kClosed &&
           bob.ended.empty();
  }
};

}  // namespace

TEST_CASE("C9: the daemon stops: what it had said `closed` for still reaches the peer, all of it") {
  const bool unread_input = GENERATE(false, true);
  Stopping two;
  const std::string data(60'000, 'd');
  REQUIRE(two.closed_before_sent(data));
  if (unread_input) {
    // With this in its buffer, closing the socket would take back what Bob's has not been sent or has not read.
    const std::string unread(1'000, '\0');
    REQUIRE(::send(two.far, unread.data(), unread.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
    int waiting = 0;
    REQUIRE(::ioctl(two.near, FIONREAD, &waiting) == 0);
    REQUIRE(waiting > 0);
  }
  bool done = false;
  two.alice.manager->shut_down([&] { done = true; });
  CHECK((read_to_end(two.world, two.bob.accepted[0].fd.get()) == data));
  REQUIRE(two.world.run_until([&] { return done && two.bob.ended.size() == 1; }));
  CHECK((two.bob.ended[0].reason == Reason::kClosed));
  CHECK(two.bob.ended[0].bytes_in == data.size());
  REQUIRE(two.world.run_until([&] { return two.bob.manager->connection_count() == 0; }));
}

TEST_CASE("C9: the daemon stops: a peer that takes nothing is waited for only so long; channels end at once") {
  Stopping two;
  auto other = two.alice.open(two.bob, "open");
  REQUIRE(two.closed_before_sent(std::string(60'000, 'd')));
  // Bob's connection stays as it is, and nobody reads it: another socket lies under its number.
  const ipc::Fd kept(::dup(two.far));
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
  const ipc::Fd nobody(pair[0]);
  const ipc::Fd nothing(pair[1]);
  REQUIRE(::dup2(nothing.get(), two.far) == two.far);

  const auto begun = two.world.loop.now();
  bool done = false;
  two.alice.manager->shut_down([&] { done = true; });
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 2; }));
  CHECK((two.alice.ended[1].reason == Reason::kShuttingDown));
  CHECK_FALSE(done);  // the app is not kept waiting for what the connection is
  std::vector<OpenResult> results;
  two.alice.open_later(two.bob, "late", results);
  REQUIRE(results.size() == 1);
  CHECK((failed(results[0]) == Reason::kShuttingDown));
  CHECK(two.world.run_until([&] { return done; }));
  CHECK(two.world.loop.now() - begun >= 2s);
  CHECK(two.world.loop.now() - begun < 20s);
  REQUIRE(::dup2(kept.get(), two.far) == two.far);
}

TEST_CASE("C9: the daemon stops: a connection with nothing to send is not waited for") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  opened(result).fd.reset();
  two.bob.accepted.at(0).fd.reset();
  const int near = socket_of(two.alice);
  int queued = 1;
  REQUIRE(two.world.run_until([&] {
    REQUIRE(::ioctl(near, TIOCOUTQ, &queued) == 0);
    return two.alice.ended.size() == 1 && two.bob.ended.size() == 1 && queued == 0;
  }));
  int turns = 0;
  bool done = false;
  two.alice.manager->shut_down([&] { done = true; });
  CHECK(two.world.run_until([&] { return ++turns > 5 || two.alice.manager->connection_count() == 0; }));
  CHECK(turns <= 5);
  CHECK(two.world.run_until([&] { return done; }));
}
