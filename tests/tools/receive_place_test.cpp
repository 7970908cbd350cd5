// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/receive_place.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "ipc/fd.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::tools;
namespace fs = std::filesystem;

namespace {

std::string unfit(const fs::path& path, const std::vector<std::string>& homes) {
  const ipc::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(fd);
  return unfit_place(fd.get(), homes);
}

}  // namespace

TEST_CASE("fault H: the top of a home directory, and what it lies in, are no place for what others send") {
  const test::TempDir temp;
  const fs::path root = temp.path();
  const fs::path home = root / "home/bob";
  fs::create_directories(home / "Downloads");
  fs::create_directory_symlink(home, root / "link");
  const std::vector<std::string> homes{"/nonexistent", home};
  CHECK(unfit(home, homes) == "it is a home directory");
  CHECK(unfit(root / "link", homes) == "it is a home directory");
  CHECK(unfit(root / "home", homes) == "a home directory lies in it");
  CHECK(unfit("/", homes) == "a home directory lies in it");
  CHECK(unfit(home / "Downloads", homes).empty());
  CHECK(unfit(home, {}).empty());
}

TEST_CASE("fault H: nor are a git work tree and a repository") {
  const test::TempDir temp;
  const fs::path root = temp.path();
  for (const char* name :
       {"tree/.git/hooks", "tree/sub/deep", "bare/objects", "bare/refs", "bare/hooks", "module/sub"}) {
    fs::create_directories(root / name);
  }
  std::ofstream(root / "bare/HEAD") << "ref: refs/heads/main\n";
  std::ofstream(root / "module/.git") << "gitdir: elsewhere\n";
  for (const char* name :
       {"tree", "tree/sub", "tree/sub/deep", "tree/.git/hooks", "bare", "bare/hooks", "module/sub"}) {
    INFO(name);
    CHECK(unfit(root / name, {}) == "it is in a git work tree or repository");
  }
  CHECK(unfit(root, {}).empty());
}

TEST_CASE("receive place: homes are this user's, and the directory's owner's") {
  const ipc::Fd root(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto homes = homes_beside(root.get());
  CHECK(std::all_of(homes.begin(), homes.end(), [](const auto& home) { return home.starts_with("/"); }));
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') {
    CHECK(std::find(homes.begin(), homes.end(), home) != homes.end());
  }
}
