// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/state_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>

#include <catch2/catch.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

std::string resolved(const std::string& option, const Environment& from) {
  const auto path = resolve_state_dir(option, from);
  return path ? *path : "failure: " + path.failure().text;
}

}  // namespace

TEST_CASE("the state directory is the first that is known") {
  const auto all = environment(
      {{"STATE_DIRECTORY", "/var/lib/a:/var/lib/b"}, {"XDG_STATE_HOME", "/home/x/state"}, {"HOME", "/home/x"}});
  CHECK(resolved("/opt", all) == "/opt");
  CHECK(resolved("", all) == "/var/lib/a");
  CHECK(resolved("", environment({{"XDG_STATE_HOME", "/s"}, {"HOME", "/home/x"}})) == "/s/jami-connd");
  CHECK(resolved("", environment({{"XDG_STATE_HOME", "s"}, {"HOME", "/home/x"}})) == "/home/x/.local/state/jami-connd");
  CHECK(resolved("", environment({})).find("failure: ") == 0);
  CHECK(resolved("", environment({})).find("--state-dir") != std::string::npos);
}

TEST_CASE("a state directory is made with those above it, private, and may be opened again") {
  TempDir dir;
  const std::string path = dir.file("a/b/state");
  {
    const auto state = StateDir::open(path);
    REQUIRE(state);
    CHECK(state->path() == path);
    CHECK(state->file("x") == path + "/x");
    CHECK(mode_of(path) == 0700);
    CHECK(mode_of(dir.file("a")) == 0700);
    CHECK(mode_of(path + "/lock") == 0600);
    CHECK(read_file(path + "/lock") == std::to_string(getpid()) + "\n");
    write_file(path + "/trust.json.tmp-abcdef", "of a killed writer");
  }
  REQUIRE(chmod(path.c_str(), 0755) == 0);
  REQUIRE(StateDir::open(path + "/"));
  CHECK(mode_of(path) == 0700);
  CHECK(dir.names("a/b/state") == std::vector<std::string>{"lock"});
}

TEST_CASE("a second daemon on one state directory hears who has it") {
  TempDir dir;
  const pid_t holder = getpid();
  std::optional<Outcome<StateDir>> first(StateDir::open(dir.path()));
  REQUIRE(*first);
  const auto second = StateDir::open(dir.path());
  REQUIRE(!second);
  CHECK(second.failure().code == std::errc::device_or_resource_busy);
  CHECK(second.failure().text.find("(pid " + std::to_string(holder) + ")") != std::string::npos);
  CHECK(second.failure().text.find('\n') == std::string::npos);
  first.reset();
  CHECK(StateDir::open(dir.path()));
}

TEST_CASE("the lock goes with a process that is killed") {
  TempDir dir;
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto held = StateDir::open(dir.path());
    (void)!write(ready[1], held ? "y" : "n", 1);
    pause();
    _exit(0);
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  const auto second = StateDir::open(dir.path());
  REQUIRE(!second);
  CHECK(second.failure().text.find("(pid " + std::to_string(child) + ")") != std::string::npos);
  REQUIRE(kill(child, SIGKILL) == 0);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(StateDir::open(dir.path()));
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("a directory that others can write, that is none, or that is not ours is refused") {
  TempDir dir;
  for (const unsigned mode : {0770u, 0707u, 0777u}) {
    REQUIRE(chmod(dir.path().c_str(), mode) == 0);
    const auto open = StateDir::open(dir.path());
    REQUIRE(!open);
    CHECK(open.failure().text.find("others may write") != std::string::npos);
    CHECK(mode_of(dir.path()) == mode);
  }
  write_file(dir.file("file"), "");
  const auto file = StateDir::open(dir.file("file"));
  REQUIRE(!file);
  CHECK(file.failure().code == std::errc::not_a_directory);
  REQUIRE(!StateDir::open(dir.file("file/below")));

  // Someone else's directory: as root one of uid 1, otherwise root's own.
  std::string foreign = "/";
  if (geteuid() == 0) {
    foreign = dir.file("foreign");
    REQUIRE(mkdir(foreign.c_str(), 0700) == 0);
    REQUIRE(chown(foreign.c_str(), 1, 1) == 0);
  }
  const auto open = StateDir::open(foreign);
  REQUIRE(!open);
  CHECK(open.failure().text.find("belongs to uid") != std::string::npos);
}

TEST_CASE("a state directory on a read-only disk fails in one line that says so") {
  TempDir dir;
  const auto seen = on_read_only_disk(
      dir.path(), [&] { (void)StateDir::open(dir.path()).ok(); },
      [&] {
        const auto there = StateDir::open(dir.path());
        const auto new_one = StateDir::open(dir.file("new"));
        return !there && there.failure().code == std::errc::read_only_file_system && !new_one &&
               new_one.failure().code == std::errc::read_only_file_system &&
               new_one.failure().text.find("pass another --state-dir") != std::string::npos;
      });
  if (seen == InNamespace::kNotPossible) WARN("no mount namespace here: a read-only disk was not tried");
  CHECK(seen != InNamespace::kFalse);
}
