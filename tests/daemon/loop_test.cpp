// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/loop.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/socket.h>

using namespace connd;
using namespace connd::daemon;
using std::chrono::milliseconds;

TEST_CASE("tasks posted from another thread run on the loop's, in order") {
  Loop loop;
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) {
      loop.post([&, i] {
        CHECK(loop.on_thread());
        seen.push_back(i);
        if (i == 999) loop.stop();
      });
    }
  });
  loop.run();
  other.join();
  REQUIRE(seen.size() == 1000);
  for (int i = 0; i < 1000; ++i) REQUIRE(seen[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("a timer may destroy itself from its callback; a stopped one is silent") {
  Loop loop;
  std::unique_ptr<Timer> timer;
  bool fired = false;
  timer = std::make_unique<Timer>(loop, [&] {
    fired = true;
    timer.reset();
    loop.stop();
  });
  Timer silent(loop, [&] { FAIL("a stopped timer fired"); });
  silent.arm_in(milliseconds(1));
  silent.stop();
  timer->arm_in(milliseconds(5));
  loop.run();
  CHECK(fired);
}

TEST_CASE("Poll reports readiness and is silent after it is gone") {
  Loop loop;
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
  int calls = 0;
  std::unique_ptr<Poll> poll;
  poll = std::make_unique<Poll>(loop, fds[0], [&](int events) {
    CHECK((events & Poll::kReadable) != 0);
    ++calls;
    poll.reset();  // level-triggered: it would fire again
    loop.post([&] { loop.stop(); });
  });
  poll->want(Poll::kReadable);
  REQUIRE(write(fds[1], "x", 1) == 1);
  loop.run();
  CHECK(calls == 1);
  close(fds[0]);
  close(fds[1]);
}

TEST_CASE("work runs elsewhere and gives way, its end on the loop") {
  Loop loop;
  const int own_nice = ::getpriority(PRIO_PROCESS, 0);
  bool worked = false;
  int nice = 0;
  loop.post_work(
      [&] {
        worked = !loop.on_thread();
        give_way();  // once is enough
        nice = ::getpriority(PRIO_PROCESS, 0);
      },
      [&] {
        CHECK(loop.on_thread());
        loop.stop();
      });
  loop.run();
  CHECK(worked);
  CHECK(nice == std::min(own_nice + kGiveWayNice, 19));
  CHECK(::getpriority(PRIO_PROCESS, 0) == own_nice);
}

TEST_CASE("fault D7: who asked the pool for something is not called while the loop is destroyed; the work is done") {
  std::atomic<bool> worked = false;
  bool told = false;
  const auto kept = std::make_shared<int>();
  {
    Loop loop;
    loop.post_work([&worked] { worked = true; }, [&told, kept] { told = true; });
  }
  CHECK(worked);
  CHECK(!told);
  CHECK(kept.use_count() == 1);
}

TEST_CASE("BeforeWait keeps the loop awake when asked") {
  Loop loop;
  int turns = 0;
  BeforeWait* handle = nullptr;
  BeforeWait before(loop, [&] {
    if (++turns == 3) {
      handle->keep_awake(false);
      loop.stop();
    }
  });
  handle = &before;
  before.keep_awake(true);
  loop.run();
  CHECK(turns == 3);
}

TEST_CASE("EachTurn runs while it is on and may switch itself off") {
  Loop loop;
  int turns = 0;
  EachTurn* handle = nullptr;
  Timer later(loop, [&] { loop.stop(); });
  EachTurn each(loop, [&] {
    if (++turns == 5) {
      handle->want(false);
      later.arm_in(milliseconds(5));
    }
  });
  handle = &each;
  each.want(true);
  loop.run();
  CHECK(turns == 5);
}
