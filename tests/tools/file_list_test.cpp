// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_list.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::tools;
namespace fs = std::filesystem;

namespace {

struct Tree {
  Tree() {
    fs::create_directories(root / "a/b/empty");
    for (const char* name : {"a/2", "a/1", "a/b/3"}) std::ofstream(root / name) << "x";
    fs::create_symlink("1", root / "a/link");
    REQUIRE(::mkfifo((root / "a/fifo").c_str(), 0600) == 0);
  }
  test::TempDir temp;
  fs::path root = temp.path();
};

std::vector<std::string> names(const FileList& list) {
  std::vector<std::string> out;
  for (const auto& file : list.files) out.push_back(path_text(file.path));
  return out;
}

}  // namespace

TEST_CASE("file list: a file has its last part as its name") {
  const Tree tree;
  const FileList list = list_files({tree.root / "a/1", tree.root / "a/link", "/nonexistent/gone"}, false);
  CHECK(names(list) == std::vector<std::string>{"1", "link", "gone"});
  CHECK(list.files[0].size == 1);
  CHECK(list.files[1].follow);
  CHECK(list.usage_error.empty());
}

TEST_CASE("file list: a directory needs -r, and gives its regular files") {
  const Tree tree;
  CHECK(list_files({tree.root / "a"}, false).skipped.size() == 1);
  const FileList list = list_files({tree.root / "a/"}, true);
  CHECK(names(list) == std::vector<std::string>{"a/1", "a/2", "a/b/3"});
  CHECK(list.skipped.size() == 2);  // the link and the FIFO
  CHECK_FALSE(list.files[0].follow);
  CHECK(names(list_files({tree.root / "a/b/.."}, true)) == std::vector<std::string>{"1", "2", "b/3"});
}

TEST_CASE("file list: names that cannot be, and names that are there twice") {
  const Tree tree;
  CHECK(list_files({""}, false).skipped.size() == 1);
  CHECK(list_files({"/x/" + std::string(300, 'n')}, false).skipped.size() == 1);
  CHECK_FALSE(list_files({tree.root / "a/1", "/elsewhere/1"}, false).usage_error.empty());
}
