// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/process_tree.h"

#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include <catch2/catch.hpp>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "ipc/fd.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;

namespace {

/// Runs `script` by sh below a process of its own, which calls `act` once the script has said "ready", and then says
/// how that went. True if it went well and all that the script left has ended: it holds the pipe that is read here.
bool below_me(const std::string& script, bool (*act)()) {
  std::array<int, 2> fds{};
  REQUIRE(::pipe(fds.data()) == 0);
  ipc::Fd reader(fds[0]);
  ipc::Fd writer(fds[1]);
  const pid_t top = ::fork();
  REQUIRE(top >= 0);
  if (top == 0) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    std::array<int, 2> ready{};
    if (::pipe(ready.data()) != 0) ::_exit(2);
    if (::fork() == 0) {
      ::dup2(ready[1], STDOUT_FILENO);  // the script closes it when it is ready; the other end stays its own
      ::close(ready[0]);
      ::close(ready[1]);
      ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(ready[1]);
    char byte = 0;
    const bool said = ::read(ready[0], &byte, 1) == 1;
    ::_exit(said && act() ? 0 : 1);
  }
  writer.reset();
  int status = 0;
  REQUIRE(::waitpid(top, &status, 0) == top);
  char byte = 0;
  return ::read(reader.get(), &byte, 1) == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// As the keeper does: those who were born while others were killed come to us, and have their turn.
bool kill_all() {
  const bool any = tools::signal_descendants(SIGKILL);
  while (::waitpid(-1, nullptr, WNOHANG) >= 0) tools::signal_descendants(SIGKILL);
  return any;
}

}  // namespace

TEST_CASE("fault E3: a signal reaches children, their children, and those in sessions of their own") {
  CHECK(below_me("sleep 1000 & setsid sleep 1000 & (sleep 1000 | sleep 1000) & echo ready; wait", kill_all));
}

TEST_CASE("fault E3: one that is stopped is reached too") {
  CHECK(below_me("sleep 1000 & kill -STOP $!; echo ready; wait", kill_all));
}

TEST_CASE("fault E3: a name with parentheses and blanks hides nobody") {
  const test::TempDir directory;
  const std::string odd = directory.file("a) R 1 (");
  CHECK(below_me("ln -s \"$(command -v sleep)\" '" + odd + "'; '" + odd + "' 1000 & echo ready; wait", kill_all));
}

TEST_CASE("fault E3: who has no descendants signals nobody") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(tools::signal_descendants(SIGKILL) ? 1 : 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
