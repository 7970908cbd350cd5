// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/end_watch.h"

#include <unistd.h>

#include <cstdio>

#include <catch2/catch.hpp>
#include <sys/wait.h>

using namespace connd::daemon;

namespace {

/// The exit code of a child that has `time` to end, and does so by itself, or never.
int exit_code(std::chrono::milliseconds time, bool by_itself) {
  const pid_t child = ::fork();
  if (child == 0) {
    (void)!::freopen("/dev/null", "w", stderr);
    end_in(time);
    while (!by_itself) ::pause();
    ::_exit(7);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("fault D2: a process that hangs at its end is ended, and one that does not ends as always") {
  CHECK(exit_code(std::chrono::milliseconds(1), false) == 1);
  CHECK(exit_code(std::chrono::hours(1), true) == 7);
  // What is promised, for ordinary builds: five seconds.
  CHECK(kOrderlyEndTime < kEndTime);
  CHECK(kEndTime < kEndScale * std::chrono::seconds(5));
}
