// SPDX-License-Identifier: GPL-3.0-or-later
// trust.* and alias.*, before there is an identity.
#include <catch2/catch.hpp>

#include "tests/daemon/api_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

namespace {

const std::string kDevice(64, 'a');
const std::string kAccount(40, 'b');

}  // namespace

TEST_CASE("trust is on the disk when the reply comes, and told to subscribers") {
  ApiWorld world;
  ApiNode node(world, 0, {.manager = false, .policy = IceRequestPolicy::kTrusted, .ipc = {}});
  ApiClient client(world, node);
  client.subscribe();
  REQUIRE(client.call("alias.set", {{"name", "bob"}, {"device", kDevice}}).ok());
  const auto allowed = client.call("trust.allow", {{"id", "bob"}});
  REQUIRE(allowed.ok());
  CHECK(*allowed == Json{{"id", kDevice}, {"kind", "device"}, {"trust", "allowed"}, {"alias", "bob"}});
  REQUIRE(client.call("trust.ban", {{"id", kAccount}}).ok());
  REQUIRE(client.call("trust.ban", {{"id", kAccount}, {"kind", "ca"}}).ok());
  auto again = TrustStore::open(node.dir.file("trust.json"));
  REQUIRE(again.ok());
  CHECK(again->size() == 3);
  const auto list = client.call("trust.list");
  REQUIRE(list.ok());
  CHECK((*list)["entries"].size() == 3);
  CHECK((*list)["entries"][0] == *allowed);
  const auto unset = client.call("trust.unset", {{"id", kDevice}});
  REQUIRE(unset.ok());
  CHECK((*unset)["trust"] == "unknown");
  CHECK((*client.call("trust.list"))["entries"].size() == 2);
  const auto events = client.seen_of("trust.changed");
  REQUIRE(events.size() == 4);
  CHECK(events[2]["kind"] == "ca");
  CHECK(events[3]["trust"] == "unknown");
}

TEST_CASE("whom trust cannot be about") {
  ApiWorld world;
  ApiNode node(world, 0, {.manager = false, .policy = IceRequestPolicy::kTrusted, .ipc = {}});
  ApiClient client(world, node);
  CHECK(client.reason_of("trust.allow", {{"id", "nobody"}}) == Reason::kNotFound);
  CHECK(client.reason_of("trust.allow", {{"id", kAccount}, {"kind", "device"}}) == Reason::kInvalidArgument);
  CHECK(client.reason_of("trust.allow", {{"id", kDevice}, {"kind", "account"}}) == Reason::kInvalidArgument);
  CHECK(client.reason_of("trust.allow", {{"id", kDevice}, {"kind", "friend"}}) == Reason::kInvalidArgument);
  CHECK((*client.call("trust.list"))["entries"].empty());
}

TEST_CASE("aliases are set, listed and removed") {
  ApiWorld world;
  ApiNode node(world, 0, {.manager = false, .policy = IceRequestPolicy::kTrusted, .ipc = {}});
  ApiClient client(world, node);
  const std::string longest = "b" + std::string(ipc::kMaxNameBytes - 1, 'o');
  for (const std::string& name : {std::string("bob"), std::string("bob@home"), std::string("_b.o-b"), longest}) {
    INFO(name);
    CHECK(client.call("alias.set", {{"name", name}, {"device", kDevice}}).ok());
  }
  for (const std::string& name : {std::string("1bob"), std::string("b b"), longest + "o", kAccount}) {
    INFO(name);
    CHECK(client.reason_of("alias.set", {{"name", name}, {"device", kDevice}}) == Reason::kInvalidArgument);
  }
  CHECK(client.reason_of("alias.set", {{"name", "x"}, {"device", std::string(64, 'z')}}) == Reason::kInvalidArgument);
  CHECK((*client.call("alias.list"))["aliases"].size() == 4);
  CHECK(client.call("alias.remove", {{"name", "bob"}}).ok());
  CHECK(client.reason_of("alias.remove", {{"name", "bob"}}) == Reason::kNotFound);
}

TEST_CASE("what cannot be stored is not said to be") {
  ApiWorld world;
  ApiNode node(world, 0, {.manager = false, .policy = IceRequestPolicy::kTrusted, .ipc = {}});
  ApiClient client(world, node);
  ipc::Reason reason{};
  {
    const FileSizeLimit full(10);
    reason = client.reason_of("trust.ban", {{"id", kDevice}});
  }
  CHECK(reason == Reason::kResourceLimit);
  CHECK((*client.call("trust.list"))["entries"].empty());
}
