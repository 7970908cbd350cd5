// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/process_guard.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace connd::daemon;

TEST_CASE("fault I: a guarded process leaves no core, and lets nobody in") {
  // In a child, for it cannot be undone: this program is to be debugged.
  const pid_t child = ::fork();
  if (child == 0) {
    rlimit limit{};
    const bool guarded = guard_memory().ok() && ::prctl(PR_GET_DUMPABLE) == 0 &&
                         ::getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 && limit.rlim_max == 0;
    ::_exit(guarded ? 0 : 1);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
