// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/state_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>
#include <sys/stat.h>

using namespace connd;
using namespace connd::daemon;

namespace {

struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "connd-state-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("a state file is written whole, private, and replaced") {
  const Directory directory;
  const auto path = directory.path / "file";
  CHECK(read_state_file(path, 10).error() == std::errc::no_such_file_or_directory);
  REQUIRE(write_state_file(path, proto::as_bytes("first, longer")).ok());
  REQUIRE(write_state_file(path, proto::as_bytes("second")).ok());
  const auto content = read_state_file(path, 6);
  REQUIRE(content.ok());
  CHECK(proto::as_text(*content) == "second");
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path), {}) == 1);  // nothing left beside it

  REQUIRE(write_state_file(path, {}).ok());
  REQUIRE(read_state_file(path, 0).ok());
  CHECK(read_state_file(path, 0)->empty());
}

TEST_CASE("a state file above its bound is an error, not a part") {
  const Directory directory;
  const auto path = directory.path / "file";
  REQUIRE(write_state_file(path, proto::as_bytes("seven!!")).ok());
  CHECK(read_state_file(path, 7).ok());
  CHECK(read_state_file(path, 6).error() == std::errc::file_too_large);
}

TEST_CASE("a state file that cannot be written stays as it was") {
  const Directory directory;
  const auto path = directory.path / "file";
  REQUIRE(write_state_file(path, proto::as_bytes("kept")).ok());
  // A link is not followed: whoever can place one must not choose what we overwrite.
  std::filesystem::create_symlink("elsewhere", path.string() + ".new");
  CHECK(write_state_file(path, proto::as_bytes("lost")).error() == std::errc::too_many_symbolic_link_levels);
  CHECK(proto::as_text(*read_state_file(path, 10)) == "kept");
  CHECK_FALSE(std::filesystem::exists(directory.path / "elsewhere"));
  CHECK(write_state_file(directory.path / "none" / "file", {}).error() == std::errc::no_such_file_or_directory);
  CHECK(write_state_file("/dev/full/file", {}).error() == std::errc::not_a_directory);
}
