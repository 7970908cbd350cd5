// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/crash_brake.h"

#include <fstream>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "tests/daemon/temp_dir.h"

using namespace connd::daemon;
using namespace std::chrono_literals;
using connd::test::TempDir;

namespace {

constexpr std::int64_t kBooted = 1'790'000'000;

CrashBrake::Clocks at(std::int64_t since_boot_s, std::int64_t booted = kBooted) {
  return {booted + since_boot_s, since_boot_s};
}
bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

}  // namespace

TEST_CASE("fault A1: after ends in a row without a proper one the network waits, longer each time") {
  const TempDir dir;
  const std::string path = dir.file("run");
  const std::vector<std::chrono::seconds> wanted = {0s, 0s, 0s, 1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s, 60s};
  std::int64_t now = 1'000;
  for (std::size_t run = 0; run < wanted.size(); ++run) {
    INFO(run);
    const CrashBrake brake = CrashBrake::begin(path, at(now));
    CHECK(brake.ends() == run);
    CHECK(brake.pause(60s) == wanted[run]);
    CHECK(brake.pause(0s) == 0s);
    now += 30 + wanted[run].count();
  }
}

TEST_CASE("fault A1: many more ends change nothing") {
  const TempDir dir;
  const std::string path = dir.file("run");
  for (int run = 0; run < 1'100; ++run) (void)CrashBrake::begin(path, at(1));
  const CrashBrake brake = CrashBrake::begin(path, at(1));
  CHECK(brake.ends() == 1'000);
  CHECK(brake.pause(60s) == 60s);
  CHECK(brake.pause(24h) == 24h);
}

TEST_CASE("fault A1: what ends a row") {
  const TempDir dir;
  const std::string path = dir.file("run");
  for (int run = 0; run < 5; ++run) (void)CrashBrake::begin(path, at(100));

  SECTION("a proper end") {
    CrashBrake::begin(path, at(110)).ended();
    CHECK_FALSE(exists(path));
    CHECK(CrashBrake::begin(path, at(120)).ends() == 0);
  }
  SECTION("a good run: its own end is the first of a new row") {
    CHECK(CrashBrake::begin(path, at(100 + 599)).ends() == 5);
    CHECK(CrashBrake::begin(path, at(100 + 599 + 600)).ends() == 1);
  }
  SECTION("a boot, which began later") {
    CHECK(CrashBrake::begin(path, at(200, kBooted + 130)).ends() == 0);
  }
  SECTION("a boot with a clock that was turned back: less time since it") {
    CHECK(CrashBrake::begin(path, at(50, kBooted)).ends() == 0);
  }
  SECTION("nothing: the clock was set by a little") {
    CHECK(CrashBrake::begin(path, at(110, kBooted + 5)).ends() == 5);
    CHECK(CrashBrake::begin(path, at(110, kBooted - 0)).ends() == 6);
  }
}

TEST_CASE("fault A1: a note that is damaged, or cannot be written, is none") {
  const TempDir dir;
  const std::string path = dir.file("run");
  for (const char* text :
       {"", "{}", "[]", "nonsense", R"({"booted":-1,"began":1,"ends":9})", R"({"booted":"x","began":1,"ends":9})",
        R"({"booted":1790000000,"began":1,"ends":1e300})",
        R"({"booted":18446744073709551615,"began":18446744073709551615,"ends":18446744073709551615})"}) {
    INFO(text);
    std::ofstream(path) << text;
    CHECK(CrashBrake::begin(path, at(10)).ends() == 0);
    CHECK(CrashBrake::begin(path, at(11)).ends() == 1);
  }
  const CrashBrake nowhere = CrashBrake::begin(dir.file("none/run"), at(10));
  CHECK(nowhere.pause(60s) == 0s);
  nowhere.ended();
}

TEST_CASE("fault A1: the clocks are those of this machine") {
  const CrashBrake::Clocks now = CrashBrake::Clocks::now();
  CHECK(now.since_boot_s > 0);
  CHECK(now.unix_s > kBooted - 200'000'000);
}
