// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_list.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::tools;
namespace fs = std::filesystem;

namespace {

struct Tree {
  Tree() {
    fs::create_directories(root / "a/b/empty");
    for (const char* name : {"a/2", "a/1", "a/b/3"}) std::ofstream(root / name) << fs::path(name).filename().string();
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

std::string content(const ListedFile& file) {
  const auto fd = open_listed(file);
  if (!fd) return "cannot: " + fd.error().message;
  std::string text(10, '\0');
  const ssize_t n = ::read(fd->get(), text.data(), text.size());
  text.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return text;
}

}  // namespace

TEST_CASE("file list: a file has its last part as its name") {
  const Tree tree;
  const FileList list = list_files({tree.root / "a/1", tree.root / "a/link", "/nonexistent/gone"}, false);
  CHECK(names(list) == std::vector<std::string>{"1", "link", "gone"});
  CHECK(list.files[0].size == 1);
  CHECK(content(list.files[1]) == "1");
  CHECK_FALSE(open_listed(list.files[2]));
  CHECK(list.usage_error.empty());
}

TEST_CASE("file list: a directory needs -r, and gives its regular files") {
  const Tree tree;
  CHECK(list_files({tree.root / "a"}, false).skipped.size() == 1);
  const FileList list = list_files({tree.root / "a/"}, true);
  CHECK(names(list) == std::vector<std::string>{"a/1", "a/2", "a/b/3"});
  CHECK(list.skipped.size() == 2);  // the link and the FIFO
  CHECK(content(list.files[2]) == "3");
  CHECK(names(list_files({tree.root / "a/b/.."}, true)) == std::vector<std::string>{"1", "2", "b/3"});
}

TEST_CASE("file list: links lead to a directory, and never on from there") {
  const Tree tree;
  fs::create_directory_symlink("a/b", tree.root / "way");
  std::ofstream(tree.root / "a/b/empty/4") << "4";
  const FileList list = list_files({tree.root / "way/", tree.root / "way/empty/"}, true);
  CHECK(names(list) == std::vector<std::string>{"way/3", "way/empty/4", "empty/4"});
  for (const auto& file : list.files) CHECK(content(file) == file.path.back());
  CHECK(names(list_files({tree.root / "way/empty/.."}, true)) == std::vector<std::string>{"3", "empty/4"});

  // The same directory as before, by way of a link that came since.
  fs::rename(tree.root / "a/b/empty", tree.root / "moved");
  fs::create_directory_symlink(tree.root / "moved", tree.root / "a/b/empty");
  CHECK(content(list.files[0]) == "3");
  CHECK_FALSE(open_listed(list.files[1]));
  CHECK(content(list.files[2]) == "4");  // there the link is in what was named
  // The file itself.
  fs::rename(tree.root / "a/b/3", tree.root / "3");
  fs::create_symlink(tree.root / "3", tree.root / "a/b/3");
  CHECK_FALSE(open_listed(list.files[0]));
}

TEST_CASE("file list: a directory that was named and then replaced") {
  const Tree tree;
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < kMaxKeptTrees + 2; ++i) {
    arguments.push_back(tree.root / ("t" + std::to_string(i)));
    fs::create_directory(arguments.back());
    std::ofstream(fs::path(arguments.back()) / "f") << "f";
  }
  fs::create_directory(tree.root / "outside");
  std::ofstream(tree.root / "outside/f") << "other";
  const FileList list = list_files(arguments, true);
  REQUIRE(list.files.size() == arguments.size());
  for (const std::size_t i : {std::size_t{0}, kMaxKeptTrees}) {
    fs::rename(arguments[i], tree.root / ("away" + std::to_string(i)));
    fs::create_directory_symlink(tree.root / "outside", arguments[i]);
  }
  CHECK(content(list.files[0]) == "f");
  CHECK_FALSE(open_listed(list.files[kMaxKeptTrees]));
  CHECK(content(list.files[1]) == "f");
  CHECK(content(list.files[kMaxKeptTrees + 1]) == "f");
}

TEST_CASE("file list: however wide and deep, few descriptors are open") {
  const Tree tree;
  fs::path at = tree.root / "a";
  for (std::size_t depth = 1; depth <= kMaxSegments; ++depth) {
    at /= "d";
    fs::create_directories(at);
    std::ofstream(at / "f") << "f";
    if (depth == 1) {
      for (int i = 0; i < 2'000; ++i) fs::create_directory(at / std::to_string(i));
    }
  }
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{2 * kMaxSegments, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const FileList list = list_files({tree.root / "a"}, true);
  CHECK(list.files.size() == 3 + kMaxSegments - 2);
  CHECK(list.skipped.size() == 3);  // also what lies too deep
  for (int i = 0; i < 3; ++i) {
    for (const auto& file : list.files) CHECK(content(file) == file.path.back());
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("file list: names that cannot be, and names that are there twice") {
  const Tree tree;
  CHECK(list_files({""}, false).skipped.size() == 1);
  CHECK(list_files({"/x/" + std::string(300, 'n')}, false).skipped.size() == 1);
  CHECK_FALSE(list_files({tree.root / "a/1", "/elsewhere/1"}, false).usage_error.empty());
}
