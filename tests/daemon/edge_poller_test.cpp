// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/edge_poller.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/socket.h>

using namespace connd;
using namespace connd::daemon;
using std::chrono::milliseconds;

namespace {

struct Pair {
  Pair() {
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    near = ipc::Fd(fds[0]);
    far = ipc::Fd(fds[1]);
  }
  ipc::Fd near, far;
};

struct Handler final : EdgeHandler {
  std::function<void(std::uint32_t)> call;
  void on_edge(std::uint32_t events) override { call(events); }
};

void put(const ipc::Fd& fd) {
  REQUIRE(write(fd.get(), "x", 1) == 1);
}

/// Runs the loop until `stop`, or fails when that takes longer than any machine needs.
void run(Loop& loop) {
  Timer deadline(loop, [&] {
    loop.stop();
    FAIL("nothing happened in time");
  });
  deadline.arm_in(milliseconds(60000));
  loop.run();
}

}  // namespace

TEST_CASE("an edge is reported once, and again only when more arrives") {
  Loop loop;
  EdgePoller poller(loop);
  Pair pair;
  Handler handler;
  int reads = 0;
  handler.call = [&](std::uint32_t events) {
    if ((events & EPOLLIN) == 0) return;  // the first event: it is writable
    if (++reads == 2) return loop.stop();
    // Left unread on purpose. A level-triggered set would report it for ever; this one waits for the next byte.
    loop.post([&] { put(pair.far); });
  };
  auto watch = poller.watch(pair.near.get(), handler);
  REQUIRE(watch.ok());
  put(pair.far);
  run(loop);
  CHECK(reads == 2);
}

TEST_CASE("hang-up is told as EPOLLRDHUP, after the data") {
  Loop loop;
  EdgePoller poller(loop);
  Pair pair;
  Handler handler;
  handler.call = [&](std::uint32_t events) {
    if ((events & EPOLLRDHUP) == 0) return;
    char byte = 0;
    CHECK(read(pair.near.get(), &byte, 1) == 1);
    CHECK(read(pair.near.get(), &byte, 1) == 0);
    loop.stop();
  };
  auto watch = poller.watch(pair.near.get(), handler);
  REQUIRE(watch.ok());
  put(pair.far);
  pair.far.reset();
  run(loop);
}

TEST_CASE("of two ready watches that destroy each other only one is called") {
  Loop loop;
  EdgePoller poller(loop);
  Pair a;
  Pair b;
  Handler ha;
  Handler hb;
  std::unique_ptr<EdgePoller::Watch> wa;
  std::unique_ptr<EdgePoller::Watch> wb;
  int calls = 0;
  // Each destroys both, itself included. Both are writable at once, so their events come in one batch.
  ha.call = hb.call = [&](std::uint32_t) {
    ++calls;
    wa.reset();
    wb.reset();
    loop.post([&] { loop.stop(); });
  };
  wa = std::make_unique<EdgePoller::Watch>(std::move(poller.watch(a.near.get(), ha)).value());
  wb = std::make_unique<EdgePoller::Watch>(std::move(poller.watch(b.near.get(), hb)).value());
  CHECK(poller.size() == 2);
  run(loop);
  CHECK(calls == 1);
  CHECK(poller.size() == 0);
}

TEST_CASE("a fetched event does not reach a new watch with the same slot, number and handler") {
  Loop loop;
  EdgePoller poller(loop);
  Pair victims[2];
  Pair silent;
  // Full, so that the new file has no event of its own: neither readable nor writable.
  char block[4096] = {};
  while (write(silent.near.get(), block, sizeof block) > 0) {
  }
  Handler handlers[2];
  EdgePoller::Watch watches[2];
  int calls = 0;
  const auto replace = [&](int other) {
    ++calls;
    const int number = victims[other].near.get();
    watches[other].reset();
    REQUIRE(dup2(silent.near.get(), number) == number);
    auto fresh = poller.watch(number, handlers[other]);
    REQUIRE(fresh.ok());
    watches[other] = std::move(fresh).value();
    loop.post([&] { loop.stop(); });
  };
  handlers[0].call = [&](std::uint32_t) { replace(1); };
  handlers[1].call = [&](std::uint32_t) { replace(0); };
  for (int i = 0; i < 2; ++i) watches[i] = std::move(poller.watch(victims[i].near.get(), handlers[i])).value();
  run(loop);
  CHECK(calls == 1);
}

TEST_CASE("again calls in the next turn, once, and not after the watch is gone") {
  Loop loop;
  EdgePoller poller(loop);
  Pair pair;
  Pair gone;
  Handler handler;
  Handler never;
  EdgePoller::Watch watch;
  std::vector<std::uint32_t> seen;
  handler.call = [&](std::uint32_t events) {
    seen.push_back(events);
    if (seen.size() == 1) {
      watch.again(EPOLLIN);
      watch.again(EPOLLOUT);
    } else if (seen.size() == 2) {
      watch.again(EPOLLIN);
    } else {
      loop.post([&] { loop.stop(); });
    }
  };
  never.call = [](std::uint32_t) { FAIL("called after its watch was gone"); };
  watch = std::move(poller.watch(pair.near.get(), handler)).value();
  {
    auto dropped = std::move(poller.watch(gone.near.get(), never)).value();
    dropped.again(EPOLLIN);
  }
  run(loop);
  REQUIRE(seen.size() == 3);
  CHECK(seen[1] == (EPOLLIN | EPOLLOUT));
  CHECK(seen[2] == EPOLLIN);
}

TEST_CASE("more ready descriptors than one turn takes are all told, and timers run between") {
  Loop loop;
  EdgePoller poller(loop);
  const std::size_t pairs_wanted = 150;
  std::vector<Pair> pairs(pairs_wanted);
  std::vector<ipc::Fd> dups;
  Handler handler;
  std::size_t calls = 0;
  std::size_t at_timer = 0;
  std::vector<EdgePoller::Watch> watches;
  const std::size_t wanted = EdgePoller::kMaxEventsPerTurn + 200;
  Timer soon(loop, [&] { at_timer = calls; });
  handler.call = [&](std::uint32_t) {
    if (++calls == 1) soon.arm_in(milliseconds(0));
    if (calls == wanted) loop.post([&] { loop.stop(); });
  };
  rlim_t room = 0;
  {
    // Duplicates are registrations of their own: many descriptors for few sockets.
    for (std::size_t i = 0; i < wanted; ++i) {
      const int fd = fcntl(pairs[i % pairs_wanted].near.get(), F_DUPFD_CLOEXEC, 0);
      if (fd < 0) break;
      dups.emplace_back(fd);
    }
    room = dups.size();
  }
  if (room < wanted) {
    WARN("skipped: needs " << wanted << " descriptors, RLIMIT_NOFILE allows " << room);
    return;
  }
  for (const ipc::Fd& fd : dups) watches.push_back(std::move(poller.watch(fd.get(), handler)).value());
  run(loop);
  CHECK(calls == wanted);
  CHECK(at_timer == EdgePoller::kMaxEventsPerTurn);
}

TEST_CASE("what epoll_ctl refuses is an error, and costs no slot") {
  Loop loop;
  EdgePoller poller(loop);
  Handler handler;
  CHECK(poller.watch(-1, handler).error() == std::errc::bad_file_descriptor);
  ipc::Fd regular(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  REQUIRE(regular);
  CHECK(poller.watch(regular.get(), handler).error() == std::errc::operation_not_permitted);
  Pair pair;
  auto watch = poller.watch(pair.near.get(), handler);
  REQUIRE(watch.ok());
  CHECK(poller.watch(pair.near.get(), handler).error() == std::errc::file_exists);
  CHECK(poller.size() == 1);
  watch->reset();
  CHECK(poller.size() == 0);
}
