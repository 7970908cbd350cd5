// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/alias_store.h"

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::DeviceId;

namespace {

DeviceId device(std::uint8_t n) {
  DeviceId id;
  id.bytes.fill(n);
  return id;
}

AliasStore opened(const std::string& path) {
  auto store = AliasStore::open(path);
  REQUIRE(store);
  return *std::move(store);
}

}  // namespace

TEST_CASE("aliases are set, replaced and removed, and survive each restart") {
  TempDir dir;
  const std::string path = dir.file("aliases.json");
  REQUIRE(opened(path).set("bob", device(1)));
  REQUIRE(opened(path).set("bob", device(2)));
  REQUIRE(opened(path).set("Bob", device(3)));
  auto store = opened(path);
  CHECK(store.find("bob") == device(2));
  CHECK(store.find("Bob") == device(3));
  CHECK(!store.find("alice"));
  CHECK(store.list().size() == 2);
  CHECK(store.resolve("bob") == device(2));
  CHECK(store.resolve(device(7).hex()) == device(7));
  CHECK(!store.resolve("alice"));
  const auto removed = store.remove("bob");
  REQUIRE(removed);
  CHECK(*removed);
  const auto again = store.remove("bob");
  REQUIRE(again);
  CHECK(!*again);
  CHECK(opened(path).list().size() == 1);
}

TEST_CASE("a device is told by the first of its names, whatever they were before") {
  TempDir dir;
  const auto named = [](const AliasStore& store, std::uint8_t n) {
    const std::string* const name = store.name_of(device(n));
    return name != nullptr ? *name : "";
  };
  auto store = opened(dir.file("aliases.json"));
  CHECK(store.name_of(device(1)) == nullptr);
  REQUIRE(store.set("bob", device(2)));
  REQUIRE(store.set("ann", device(2)));
  REQUIRE(store.set("eve", device(1)));
  CHECK(named(store, 1) == "eve");
  CHECK(named(store, 2) == "ann");
  CHECK(store.name_of(device(3)) == nullptr);
  REQUIRE(store.set("ann", device(3)));
  CHECK(named(store, 2) == "bob");
  CHECK(named(store, 3) == "ann");
  REQUIRE(store.remove("bob"));
  CHECK(store.name_of(device(2)) == nullptr);
  CHECK(named(opened(dir.file("aliases.json")), 3) == "ann");
}

TEST_CASE("what a name may be") {
  for (const std::string& good :
       {std::string("a"), std::string("A.b_c-9"), std::string(64, 'x'), std::string(63, 'a'), std::string(39, 'a'),
        std::string("_"), std::string("bob@home"), std::string(128, 'x')}) {
    INFO(good);
    CHECK(AliasStore::valid_name(good));
  }
  for (const std::string& bad :
       {std::string(), std::string(129, 'x'), std::string("."), std::string("1a"), std::string(64, 'a'),
        std::string(64, 'F'), std::string(40, '0'), std::string("a b"), std::string("a/b"), std::string("\xc3\xa9"),
        std::string("a\0", 2), std::string("a\n")}) {
    INFO(bad);
    CHECK(!AliasStore::valid_name(bad));
  }
  TempDir dir;
  auto store = opened(dir.file("aliases.json"));
  const auto set = store.set("a b", device(1));
  REQUIRE(!set);
  CHECK(set.failure().code == std::errc::invalid_argument);
  CHECK(dir.names().empty());
}

TEST_CASE("a write that fails leaves the aliases as they were") {
  TempDir dir;
  const std::string path = dir.file("aliases.json");
  auto store = opened(path);
  REQUIRE(store.set("bob", device(1)));
  {
    const FileSizeLimit limit(16);
    CHECK(!store.set("alice", device(2)));
    CHECK(!store.set("bob", device(2)));
    CHECK(!store.remove("bob"));
  }
  for (const AliasStore& one : {store, opened(path)}) {
    CHECK(one.list().size() == 1);
    CHECK(one.find("bob") == device(1));
  }
}

TEST_CASE("a file of aliases that is not understood stops the start") {
  TempDir dir;
  const std::string path = dir.file("aliases.json");
  const std::string id(64, '1');
  const std::string bad[] = {
      "",
      "{}",
      R"({"v":1,"aliases":[1]})",
      R"({"v":1,"aliases":[{"name":"a"}]})",
      R"({"v":1,"aliases":[{"name":"a b","device":")" + id + R"("}]})",
      R"({"v":1,"aliases":[{"name":"a","device":"12"}]})",
      R"({"v":1,"aliases":[{"name":"a","device":")" + id + R"("},{"name":"a","device":")" + id + R"("}]})"};
  for (const std::string& text : bad) {
    write_file(path, text);
    INFO(text);
    const auto store = AliasStore::open(path);
    REQUIRE(!store);
    CHECK(store.failure().text.find(path) == 0);
  }
}
