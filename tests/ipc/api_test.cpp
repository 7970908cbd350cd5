// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/api.h"

#include <fstream>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>

#include "ipc/api_admin.h"
#include "ipc/schema.h"

using namespace connd;
using namespace connd::ipc;

namespace {

std::string file(const char* name) {
  std::ifstream in(std::string(CONND_SOURCE_DIR) + "/ipc/" + name);
  REQUIRE(in);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("a listener's peers") {
  CHECK_FALSE(listener_peers("allowed")->any);
  CHECK(listener_peers("any")->any);
  CHECK(listener_peers(Json::array({"bob", "carol"}))->devices == std::vector<std::string>{"bob", "carol"});
  for (const char* bad : {"\"all\"", "[]", "[1]", "[\"\"]", "7", "null", "{}"}) {
    INFO(bad);
    CHECK_FALSE(listener_peers(Json::parse(bad)));
  }
  CHECK(listener_peers(Json(std::vector<std::string>(kMaxListenerPeers, "x"))));
  CHECK_FALSE(listener_peers(Json(std::vector<std::string>(kMaxListenerPeers + 1, "x"))));
}

TEST_CASE("an alias is never taken for an id") {
  for (const char* good : {"bob", "_x", "Bob.home-1@work", "face"}) CHECK(check_alias(good));
  for (const std::string& bad : {std::string(), std::string("1bob"), std::string("a b"), std::string("-x"),
                                 std::string(40, 'a'), std::string(64, 'F'), std::string(129, 'x'), std::string("é")}) {
    INFO(bad);
    CHECK_FALSE(check_alias(bad));
  }
  CHECK(check_alias(std::string(128, 'x')));
}

TEST_CASE("the schema file is what the code says") {
  // When this fails after a change of ipc/api.h: write the text below to ipc/schema.json, and PROTOCOL.md with it.
  const std::string schema = api_schema().dump(1) + "\n";
  if (const char* path = std::getenv("CONND_WRITE_SCHEMA")) std::ofstream(path) << schema;
  CHECK(file("schema.json") == schema);
}

TEST_CASE("PROTOCOL.md names every method, notification, member and reason") {
  const std::string text = file("PROTOCOL.md");
  const auto named = [&](const std::string& name) {
    INFO(name);
    CHECK(text.find(name) != std::string::npos);
  };
  const Json schema = api_schema();
  for (const char* kind : {"methods", "x-notifications"}) {
    for (const Json& message : schema[kind]) {
      named("\n### " + message["name"].get<std::string>() + "\n");
      for (const Json& param : message["params"]) named("`" + param["name"].get<std::string>() + "`");
      const Json types = message.value("x-types", Json::object());
      for (const auto& [type, members] : types.items()) {
        named("\n| `" + type + "` | ");
        for (const auto& [member, schema_of_it] : members["properties"].items()) named("`" + member + "`");
      }
      if (!message.contains("result")) continue;
      for (const auto& [member, type] : message["result"]["schema"]["properties"].items()) named("`" + member + "`");
    }
  }
  for (const proto::ReasonInfo& info : proto::kReasons) {
    named("| `" + std::string(info.name) + "` | " + std::to_string(code_of(info.reason)) + " | " +
          std::to_string(info.exit_code) + " | " + (info.retryable ? "yes" : "no") + " |");
  }
  named(std::to_string(kMaxUriBytes / 1000) + ",000");
}
