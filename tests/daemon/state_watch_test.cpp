// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/state_watch.h"

#include <filesystem>

#include <catch2/catch.hpp>

#include "daemon/trust/state_dir.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

void check_possible(InNamespace how) {
  if (how == InNamespace::kNotPossible) {
    WARN("no mount namespace here: not tried");
    return;
  }
  CHECK(how == InNamespace::kTrue);
}

}  // namespace

TEST_CASE("fault E9: a state directory that can be written is no problem") {
  const TempDir dir;
  const auto state = StateDir::open(dir.file("state"));
  REQUIRE(state);
  CHECK(state_problem(state->path(), false).empty());
  CHECK(state_problem(state->path(), true).empty());
  CHECK(dir.names("state") == std::vector<std::string>{"lock"});
}

TEST_CASE("fault E9: a disk that is full is told") {
  const TempDir dir;
  check_possible(on_small_disk(dir.path(), [&dir] {
    const auto state = StateDir::open(dir.path());
    write_file(dir.file("other"), std::string(60'000, 'x'));
    return state_problem(dir.path(), false) == "No space left on device" &&
           state_problem(dir.path(), true) == "No space left on device";
  }));
}

TEST_CASE("fault E9: a file system that was made read-only is told") {
  const TempDir dir;
  check_possible(on_read_only_disk(
      dir.path(), [&dir] { write_file(dir.file("lock"), ""); },
      [&dir] { return state_problem(dir.path(), false) == "Read-only file system"; }));
}

TEST_CASE("fault E9: a directory that goes is told, and also that it is there again") {
  const TempDir dir;
  const std::string path = dir.file("state");
  std::optional<StateDir> state(*StateDir::open(path));
  Loop loop;
  StateWatch watch(loop, path, std::chrono::milliseconds(1));
  const auto until = [&loop](const std::function<bool()>& done) {
    Timer look(loop, [&] {
      if (done()) return loop.stop();
      look.arm_in(std::chrono::milliseconds(1));
    });
    look.arm_in(std::chrono::milliseconds(0));
    loop.run();
  };
  CHECK(watch.problem().empty());
  std::filesystem::remove_all(path);
  until([&watch] { return !watch.problem().empty(); });
  CHECK(watch.problem().find("the state directory " + path + " cannot be written: ") == 0);
  std::filesystem::create_directory(path);
  until([&watch] { return watch.problem().find("it was removed, or emptied") != std::string::npos; });
  write_file(path + "/lock", "");
  until([&watch] { return watch.problem().empty(); });
}
