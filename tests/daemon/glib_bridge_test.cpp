// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/glib_bridge.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <functional>

#include <catch2/catch.hpp>
#include <glib-unix.h>
#include <sys/socket.h>

using namespace connd;
using namespace connd::daemon;
using std::chrono::milliseconds;

namespace {

gboolean call_once(gpointer data) {
  (*static_cast<std::function<void()>*>(data))();
  return G_SOURCE_REMOVE;
}

void attach(GlibBridge& bridge, GSource* source, std::function<void()>* call) {
  g_source_set_callback(source, call_once, call, nullptr);
  g_source_attach(source, bridge.context());
  g_source_unref(source);
  bridge.touch();
}

struct FdSource {
  std::function<bool()> call;
  GSource* source = nullptr;
  void attach(GlibBridge& bridge, int fd) {
    source = g_unix_fd_source_new(fd, G_IO_IN);
    const auto on_ready = +[](gint, GIOCondition, gpointer self) -> gboolean {
      return static_cast<FdSource*>(self)->call() ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
    };
    g_source_set_callback(source, G_SOURCE_FUNC(on_ready), this, nullptr);
    g_source_attach(source, bridge.context());
    g_source_unref(source);
  }
};

void run(Loop& loop) {
  bool late = false;
  Timer deadline(loop, [&] {
    late = true;
    loop.stop();
  });
  deadline.arm_in(milliseconds(60000));
  loop.run();
  REQUIRE_FALSE(late);
}

}  // namespace

TEST_CASE("GLib's idle and timeout sources run in the loop, in time") {
  Loop loop;
  GlibBridge bridge(loop);
  auto use = bridge.use();
  const auto start = std::chrono::steady_clock::now();
  std::chrono::steady_clock::duration took{};
  std::function<void()> at_timeout = [&] {
    took = std::chrono::steady_clock::now() - start;
    loop.stop();
  };
  std::function<void()> at_idle = [&] { attach(bridge, g_timeout_source_new(20), &at_timeout); };
  attach(bridge, g_idle_source_new(), &at_idle);
  run(loop);
  CHECK(took >= milliseconds(20));
  CHECK(took < milliseconds(2000));
}

TEST_CASE("a descriptor that is closed and opened again under its number within one dispatch is still watched") {
  Loop loop;
  GlibBridge bridge(loop);
  auto use = bridge.use();
  int first[2];
  int second[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, first) == 0);
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, second) == 0);
  FdSource old_source;
  FdSource new_source;
  new_source.call = [&] {
    char byte = 0;
    CHECK(read(first[0], &byte, 1) == 1);
    loop.stop();
    return false;
  };
  old_source.call = [&] {
    REQUIRE(dup2(second[0], first[0]) == first[0]);  // closes the old file and takes its number
    new_source.attach(bridge, first[0]);
    // Written later, when the loop waits: readiness must come from the registration.
    loop.post([&] { REQUIRE(write(second[1], "y", 1) == 1); });
    return false;
  };
  old_source.attach(bridge, first[0]);
  bridge.touch();
  REQUIRE(write(first[1], "x", 1) == 1);
  run(loop);
  for (const int fd : {first[0], first[1], second[0], second[1]}) close(fd);
}

TEST_CASE("without a use nothing runs; with one again it does") {
  Loop loop;
  GlibBridge bridge(loop);
  int calls = 0;
  std::function<void()> count = [&] { ++calls; };
  CHECK_FALSE(bridge.running());
  attach(bridge, g_idle_source_new(), &count);
  Timer soon(loop, [&] { loop.stop(); });
  soon.arm_in(milliseconds(20));
  run(loop);
  CHECK(calls == 0);

  auto use = bridge.use();
  std::function<void()> last = [&] {
    ++calls;
    use.reset();  // from inside a GLib callback
    loop.post([&] { loop.stop(); });
  };
  attach(bridge, g_idle_source_new(), &last);
  run(loop);
  CHECK(calls == 2);
  CHECK_FALSE(bridge.running());
}

TEST_CASE("while it runs and GLib is quiet, the loop sleeps") {
  Loop loop;
  GlibBridge bridge(loop);
  auto use = bridge.use();
  int turns = 0;
  BeforeWait counter(loop, [&] { ++turns; });
  Timer soon(loop, [&] { loop.stop(); });
  soon.arm_in(milliseconds(100));
  run(loop);
  CHECK(turns < 10);
}

TEST_CASE("a gate holds readiness back without spinning, and is asked again when more arrives") {
  struct OneByteIsTooFew final : GlibBridge::Gate {
    int fd = -1;
    bool admits(int ready) override {
      char block[2];
      return ready != fd || recv(fd, block, sizeof block, MSG_PEEK | MSG_DONTWAIT) == 2;
    }
  };
  Loop loop;
  GlibBridge bridge(loop);
  auto use = bridge.use();
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  OneByteIsTooFew gate;
  gate.fd = fds[0];
  bridge.add_gate(gate);
  FdSource source;
  int calls = 0;
  source.call = [&] {
    ++calls;
    loop.stop();
    return false;
  };
  source.attach(bridge, fds[0]);
  bridge.touch();
  int turns = 0;
  BeforeWait counter(loop, [&] { ++turns; });
  Timer later(loop, [&] {
    CHECK(calls == 0);
    CHECK(turns < 15);
    REQUIRE(write(fds[1], "2", 1) == 1);
  });
  REQUIRE(write(fds[1], "1", 1) == 1);
  later.arm_in(milliseconds(100));
  run(loop);
  CHECK(calls == 1);
  bridge.remove_gate(gate);
  close(fds[0]);
  close(fds[1]);
}
