// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/keeper.h"

#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <csignal>

#include <catch2/catch.hpp>
#include <sys/wait.h>

#include "tests/ipc/script_server.h"
#include "tests/ipc/socket_pair.h"

using namespace connd;
using namespace connd::tools;
using connd::test::socket_pair;
using std::chrono::milliseconds;

namespace {

// The grace is waited for in truth: short where it must pass, for ever where it must not.
constexpr milliseconds kShort{10};
constexpr milliseconds kForEver{3'600'000};

/// A script whose stdin and stdout are a channel that the test has the other end of: when that ends, nobody is left
/// who could write to it.
struct Kept {
  Kept(const char* script, milliseconds grace) {
    auto ends = socket_pair();
    auto started = Keeper::start({"sh", "-c", script}, ends.second.get(), {{"WHO", "peer"}}, grace);
    REQUIRE(started);
    keeper = std::make_unique<Keeper>(std::move(*started));
    channel = std::move(ends.first);
  }
  /// Until the script says so.
  void expect(const std::string& word) const {
    std::string text(word.size(), '\0');
    REQUIRE(::recv(channel.get(), text.data(), text.size(), MSG_WAITALL) == static_cast<ssize_t>(text.size()));
    CHECK(text == word);
  }
  void wait_for_status() const {
    while (!keeper->status()) {
      pollfd one{keeper->fd(), POLLIN, 0};
      ::poll(&one, 1, -1);
      keeper->update();
    }
  }
  void wait_until_gone() const {
    while (!keeper->gone()) {
      pollfd one{keeper->fd(), POLLIN, 0};
      if (one.fd >= 0) ::poll(&one, 1, -1);
      keeper->update();
      if (one.fd < 0) ::sched_yield();  // its end came; the kernel is about to let go of it
    }
  }
  [[nodiscard]] bool nobody_is_left() const {
    char byte = 0;
    return ::recv(channel.get(), &byte, 1, 0) == 0;
  }
  std::unique_ptr<Keeper> keeper;
  ipc::Fd channel;
};

}  // namespace

TEST_CASE("fault E3: a program that ends leaves its status, and its place") {
  const Kept kept("exit 7", kForEver);
  kept.wait_until_gone();
  REQUIRE(kept.keeper->status());
  CHECK(WEXITSTATUS(*kept.keeper->status()) == 7);
  CHECK(kept.nobody_is_left());
}

TEST_CASE("fault E3: the status is there whenever its keeper is found gone") {
  // Looked at all the time, since the keeper may end between any two things that the owner does.
  for (int turn = 0; turn < 300; ++turn) {
    const Kept kept("exit 0", kForEver);
    while (!kept.keeper->gone()) kept.keeper->update();
    REQUIRE(kept.keeper->status() == 0);
  }
}

TEST_CASE("fault E3: the program has the channel, and its variables") {
  const Kept kept("read line; echo \"$WHO: $line\"", kForEver);
  test::write_all(kept.channel.get(), "hello\n");
  kept.expect("peer: hello\n");
  kept.wait_until_gone();
}

TEST_CASE("fault E3: a command that is not there is an error, and nobody stays") {
  auto ends = socket_pair();
  const auto started = Keeper::start({"/nonexistent/program"}, ends.second.get(), {}, kForEver);
  REQUIRE_FALSE(started);
  CHECK(started.error().value() == ENOENT);
}

TEST_CASE("fault E3: a channel that breaks is a HUP to all, in whatever session") {
  const Kept kept("sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & exit' &) ; echo up; wait", kForEver);
  kept.expect("up\n");
  kept.keeper->over(Keeper::End::kBroken);
  kept.wait_until_gone();
  CHECK(kept.nobody_is_left());
  REQUIRE(kept.keeper->status());
  CHECK(WTERMSIG(*kept.keeper->status()) == SIGHUP);
}

TEST_CASE("fault E3: who does not hear the HUP is killed after the grace") {
  const Kept kept("trap '' HUP; setsid sleep 1000 & echo up; while :; do sleep 1000; done", kShort);
  kept.expect("up\n");
  kept.keeper->over(Keeper::End::kBroken);
  kept.wait_until_gone();
  CHECK(kept.nobody_is_left());
  CHECK(WTERMSIG(*kept.keeper->status()) == SIGKILL);
}

TEST_CASE("fault E3: after a clean end those who are left have the grace, then the HUP") {
  const Kept kept("sleep 1000 & exit 0", kShort);
  kept.wait_for_status();
  CHECK_FALSE(kept.keeper->gone());
  kept.keeper->over(Keeper::End::kClean);
  kept.keeper->over(Keeper::End::kBroken);  // only the first word counts
  kept.wait_until_gone();
  CHECK(kept.nobody_is_left());
  CHECK(*kept.keeper->status() == 0);
}

TEST_CASE("fault E3: a keeper whose owner goes ends all the same") {
  Kept kept("sleep 1000 & echo up; wait", kForEver);
  kept.expect("up\n");
  kept.keeper.reset();
  CHECK(kept.nobody_is_left());
  while (::waitpid(-1, nullptr, WNOHANG) == 0) ::sched_yield();  // the keeper, which is nobody's by now
}
