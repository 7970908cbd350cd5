// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/atomic_file.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::as_bytes;

TEST_CASE("a file is replaced whole, with its mode, and nothing is left beside it") {
  TempDir dir;
  const std::string path = dir.file("f");
  REQUIRE(write_atomically(path, as_bytes("one"), 0644));
  CHECK(mode_of(path) == 0644);
  for (const Durability durability : {Durability::kOnDisk, Durability::kCached}) {
    REQUIRE(write_atomically(path, as_bytes("two"), 0600, durability));
    CHECK(read_file(path) == "two");
    CHECK(mode_of(path) == 0600);
    CHECK(dir.names() == std::vector<std::string>{"f"});
  }
  REQUIRE(write_atomically(path, {}, 0600));
  CHECK(read_file(path).empty());
}

TEST_CASE("a write that fails half way leaves the old file and no partial one") {
  TempDir dir;
  const std::string path = dir.file("f");
  REQUIRE(write_atomically(path, as_bytes("old"), 0600));
  const proto::ByteVector big(100'000, 'x');
  {
    const FileSizeLimit limit(4096);
    const auto written = write_atomically(path, big, 0600);
    REQUIRE(!written);
    CHECK(written.failure().code == std::errc::file_too_large);
    CHECK(written.failure().text.find(path) == 0);
  }
  CHECK(read_file(path) == "old");
  CHECK(dir.names() == std::vector<std::string>{"f"});
}

TEST_CASE("a directory that is missing or not a directory is named") {
  TempDir dir;
  const auto missing = write_atomically(dir.file("no/f"), as_bytes("x"), 0600);
  REQUIRE(!missing);
  CHECK(missing.failure().code == std::errc::no_such_file_or_directory);
  CHECK(missing.failure().text.find(dir.file("no/f")) == 0);
  write_file(dir.file("file"), "");
  const auto below_file = write_atomically(dir.file("file/f"), as_bytes("x"), 0600);
  REQUIRE(!below_file);
  CHECK(below_file.failure().code == std::errc::not_a_directory);
  const auto onto_directory = write_atomically(dir.path(), as_bytes("x"), 0600);
  REQUIRE(!onto_directory);
}

TEST_CASE("a full disk is said to be full, and the old file stays") {
  TempDir dir;
  const auto seen = on_small_disk(dir.path(), [&] {
    const std::string path = dir.file("f");
    if (!write_atomically(path, as_bytes("old"), 0600)) return false;
    const auto written = write_atomically(path, proto::ByteVector(1'000'000, 'x'), 0600);
    return !written && written.failure().code == std::errc::no_space_on_device &&
           written.failure().text.find("free some space") != std::string::npos && read_file(path) == "old" &&
           dir.names() == std::vector<std::string>{"f"};
  });
  if (seen == InNamespace::kNotPossible) WARN("no mount namespace here: a full disk was not tried");
  CHECK(seen != InNamespace::kFalse);
}

TEST_CASE("a read-only disk is said to be read-only") {
  TempDir dir;
  const auto seen = on_read_only_disk(
      dir.path(), [] {},
      [&] {
        const auto written = write_atomically(dir.file("f"), as_bytes("x"), 0600);
        return !written && written.failure().code == std::errc::read_only_file_system &&
               written.failure().text.find("make it writable") != std::string::npos;
      });
  if (seen == InNamespace::kNotPossible) WARN("no mount namespace here: a read-only disk was not tried");
  CHECK(seen != InNamespace::kFalse);
}

TEST_CASE("reading is bounded, and tells a missing file from a bad one") {
  TempDir dir;
  write_file(dir.file("f"), "12345");
  const auto whole = read_bounded(dir.file("f"), 5);
  REQUIRE(whole);
  REQUIRE(*whole);
  CHECK(proto::as_text(**whole) == "12345");
  const auto long_one = read_bounded(dir.file("f"), 4);
  REQUIRE(!long_one);
  CHECK(long_one.failure().code == std::errc::file_too_large);

  const auto missing = read_bounded(dir.file("none"), 5);
  REQUIRE(missing);
  CHECK(!*missing);
  REQUIRE(!read_bounded(dir.path(), 5));
  REQUIRE(mkfifo(dir.file("fifo").c_str(), 0600) == 0);
  REQUIRE(!read_bounded(dir.file("fifo"), 5));

  // Its size is said to be 0: it is read to its end all the same.
  const auto endless = read_bounded("/proc/self/status", 100'000);
  REQUIRE(endless);
  CHECK((*endless)->size() > 100);
  REQUIRE(!read_bounded("/proc/self/status", 10));
}

TEST_CASE("leftovers of killed writers go, other files stay") {
  TempDir dir;
  write_file(dir.file("trust.json"), "");
  write_file(dir.file("trust.json.tmp-a1B2c3"), "half");
  write_file(dir.file("notes.tmp-"), "");
  remove_leftovers(dir.path());
  CHECK(dir.names() == std::vector<std::string>{"notes.tmp-", "trust.json"});
}
