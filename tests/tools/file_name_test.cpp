// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_name.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::tools;

TEST_CASE("file names: there and back") {
  struct Row {
    FilePath path;
    std::string uri;
  };
  for (const Row& row : {Row{{"file1"}, "file://file1"}, Row{{"a b", "50%"}, "file://a%20b/50%25"},
                         Row{{"\xC3\xA9\n"}, "file://%C3%A9%0A"}, Row{{"\xFF"}, "file://%FF"},
                         Row{{"...", ".x", "~-_"}, "file://.../.x/~-_"}, Row{{"a*?#"}, "file://a%2A%3F%23"}}) {
    CHECK(file_uri(row.path) == row.uri);
    const auto back = path_of_uri(row.uri);
    REQUIRE(back);
    CHECK(*back == row.path);
  }
}

TEST_CASE("file names: what others may write") {
  CHECK(*path_of_uri("file://%c3%a9") == FilePath{"\xC3\xA9"});
  CHECK(*path_of_uri("file://\xC3\xA9 (1).txt") == FilePath{"\xC3\xA9 (1).txt"});
}

TEST_CASE("file names: what leads elsewhere, or nowhere") {
  const std::string long_part(256, 'x');
  std::string deep = "file://a";
  for (std::size_t n = 0; n < kMaxSegments; ++n) deep += "/a";
  std::string wide = "file://x";
  for (int n = 0; n < 20; ++n) wide += "/" + std::string(250, 'x');
  for (const std::string& uri : {std::string("file://"),
                                 std::string("file:///a"),
                                 std::string("file://a/"),
                                 std::string("file://a//b"),
                                 std::string("file://."),
                                 std::string("file://.."),
                                 std::string("file://a/../b"),
                                 std::string("file://%2E%2E"),
                                 std::string("file://%2e/a"),
                                 std::string("file://a%2Fb"),
                                 std::string("file://a%00"),
                                 std::string("file://%4"),
                                 std::string("file://%"),
                                 std::string("file://%zz"),
                                 std::string("file://a\nb"),
                                 std::string("file://a\x7F"),
                                 std::string("file://a\0b", 10),
                                 std::string("File://a"),
                                 std::string("git://a"),
                                 std::string(),
                                 "file://" + long_part,
                                 deep,
                                 wide}) {
    INFO(uri);
    const auto path = path_of_uri(uri);
    REQUIRE_FALSE(path);
    CHECK(path.error().reason == ipc::Reason::kBadName);
  }
  CHECK(path_of_uri("file://" + std::string(255, 'x')));
}

TEST_CASE("fault H: names that are odd are told from those that are not") {
  for (const FilePath& path : std::vector<FilePath>{{".bashrc"},
                                                    {".ssh", "authorized_keys"},
                                                    {"a", ".git", "hooks", "x"},
                                                    {"-rf"},
                                                    {"a", "--help"},
                                                    {"..."},
                                                    {"a\nb"},
                                                    {"a\x7F"},
                                                    {"a\x1B[31m"},
                                                    {"a\xC2\x9B"
                                                     "31m"},
                                                    {"a\x9B"
                                                     "31m"},
                                                    {"gpj.\xE2\x80\xAE"
                                                     "exe"},
                                                    {"\xE2\x81\xA7"
                                                     "a"},
                                                    {"\xD8\x9C"
                                                     "a"},
                                                    {"a\xE2\x80\xA8"
                                                     "b"}}) {
    INFO(path_text(path));
    CHECK(path_problem(path).empty());
    CHECK_FALSE(odd_name(path).empty());
  }
  for (const FilePath& path : std::vector<FilePath>{{"a"},
                                                    {"a.b", "c-d"},
                                                    {"\xC3\xA9 (1).txt"},
                                                    {"a\xFF"
                                                     "b"},
                                                    {"~"},
                                                    {"a b"},
                                                    {"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB"}}) {
    INFO(path_text(path));
    CHECK(odd_name(path).empty());
  }
}

TEST_CASE("file names: the longest fits into a uri") {
  FilePath path;
  for (int n = 0; n < 15; ++n) path.emplace_back(255, '\n');
  path.emplace_back(255, '\n');
  CHECK(path_problem(path).empty());
  CHECK(path_text(path).size() == kMaxPathBytes);
  CHECK(file_uri(path).size() < 65'000);
  CHECK(*path_of_uri(file_uri(path)) == path);
  path.front() = "xx";
  path.emplace_back(254, 'x');
  CHECK_FALSE(path_problem(path).empty() == (path_text(path).size() > kMaxPathBytes));
}
