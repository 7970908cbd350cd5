// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/json_file.h"

#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "daemon/system/atomic_file.h"
#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using nlohmann::json;

namespace {

struct File {
  TempDir dir;
  JsonFile file{dir.file("list.json"), "entries", 200, 5};
  void write(const std::string& text) const { REQUIRE(write_atomically(file.path, proto::as_bytes(text), 0600)); }
};

}  // namespace

TEST_CASE("JsonFile: what is saved is loaded; no file is an empty list") {
  const File f;
  REQUIRE(f.file.load());
  CHECK(*f.file.load() == json::array());
  REQUIRE(f.file.save(json{1, "two"}));
  CHECK(*f.file.load() == json{1, "two"});
}

TEST_CASE("JsonFile: a file that is not as it should be names itself, and is not taken for an empty one") {
  const File f;
  const std::string text =
      GENERATE(as<std::string>{}, "", "{", "[]", R"({"entries":[]})", R"({"v":"1","entries":[]})",
               R"({"v":2,"entries":[]})", R"({"v":1})", R"({"v":1,"entries":{}})", R"({"v":1,"entries":[],"more":1})",
               R"({"v":1,"entries":[1,2,3,4,5,6]})", std::string(201, ' '));
  INFO(text);
  f.write(text);
  const auto loaded = f.file.load();
  REQUIRE(!loaded);
  CHECK(loaded.failure().text.find(f.file.path) == 0);
}

TEST_CASE("JsonFile: more than its bounds is not saved, and what was there stays") {
  const File f;
  REQUIRE(f.file.save(json{1}));
  CHECK(!f.file.save(json{1, 2, 3, 4, 5, 6}));
  CHECK(!f.file.save(json{std::string(200, 'x')}));
  CHECK(*f.file.load() == json{1});
}
