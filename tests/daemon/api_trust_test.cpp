// SPDX-License-Identifier: GPL-3.0-or-later
// trust.* and alias.*, before there is an identity.
#include <catch2/catch.hpp>

#include "tests/daemon/api_pair.h"

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

TEST_CASE("fault B1: a ban of a connected device's short id names it, ends its connection, and keeps it out") {
  ApiWorld world;
  ApiNode alice(world, 0);
  ApiNode bob(world, 1);
  bob.allow(alice);
  ApiClient her(world, alice);
  ApiClient his(world, bob);
  his.listen("x");
  auto channel = her.open(bob, "x");
  REQUIRE(channel.ok());
  const std::string short_id = alice.chain.short_device_id().hex();
  CHECK(his.reason_of("trust.allow", {{"id", short_id}}) == Reason::kInvalidArgument);  // an account has no such id
  const auto banned = his.call("trust.ban", {{"id", short_id}});
  REQUIRE(banned.ok());
  CHECK((*banned)["devices"] == Json::array({alice.id.hex()}));
  REQUIRE(world.run_until([&] { return bob.manager->connection_count() == 0; }));
  CHECK(her.reason_of("channel.open", {{"peer", bob.id.hex()}, {"uri", "x"}, {"timeout", 1}}) ==
        Reason::kNoAnswerOrRefused);
  CHECK(his.reason_of("channel.open", {{"peer", alice.id.hex()}, {"uri", "x"}, {"timeout", 1}}) == Reason::kBanned);
  CHECK(his.reason_of("channel.open", {{"peer", short_id}, {"uri", "x"}, {"timeout", 1}}) == Reason::kBanned);
  REQUIRE(his.call("trust.unset", {{"id", short_id}}).ok());
  CHECK(her.open(bob, "x").ok());
}

TEST_CASE("fault B1: a ban that could do nothing is an error") {
  ApiWorld world;
  ApiNode node(world, 0);
  ApiClient client(world, node);
  for (const std::string& id : {node.id.hex(), node.chain.short_device_id().hex()}) {
    CHECK(client.reason_of("trust.ban", {{"id", id}}) == Reason::kInvalidArgument);
  }
  // By a device's short id, called a device's.
  CHECK(client.call("trust.ban", {{"id", kAccount}, {"kind", "device"}}).ok());
}

TEST_CASE("fault B2: a ban of the account names the devices that were met as its, and the list says what bans them") {
  ApiWorld world;
  ApiNode alice(world, 0);
  ApiNode bob(world, 1);
  bob.allow(alice);
  ApiClient her(world, alice);
  ApiClient his(world, bob);
  his.listen("x");
  REQUIRE(her.open(bob, "x").ok());
  const std::string account = alice.chain.account_id().hex();
  CHECK((*his.call("trust.list"))["entries"][0]["account"] == account);
  her.leave();
  REQUIRE(his.call("connection.close", {{"peer", alice.id.hex()}}).ok());
  REQUIRE(world.run_until([&] { return bob.manager->connection_count() == 0; }));
  const auto banned = his.call("trust.ban", {{"id", account}});
  REQUIRE(banned.ok());
  CHECK((*banned)["devices"] == Json::array({alice.id.hex()}));
  const Json entries = (*his.call("trust.list"))["entries"];
  REQUIRE(entries.size() == 2);
  CHECK(entries[0]["trust"] == "banned");
  CHECK(entries[0]["banned_by"] == account);
}

TEST_CASE("fault B6: one friend gets one service, and no other reaches it") {
  ApiWorld world;
  ApiNode alice(world, 0);
  ApiNode bob(world, 1);
  ApiNode carol(world, 2);
  bob.allow(alice);
  bob.allow(carol);
  alice.allow(bob);
  ApiClient hers(world, alice);
  ApiClient his(world, bob);
  ApiClient carols(world, carol);
  const std::string account = carol.chain.account_id().hex();
  REQUIRE(his.call("alias.set", {{"name", "al"}, {"device", alice.id.hex()}}).ok());
  REQUIRE(his.call("listen.add", {{"uri", "ssh"}, {"only_peers", {"al"}}}).ok());
  REQUIRE(his.call("listen.add", {{"uri", "files/"}, {"prefix", true}, {"only_peers", {account}}}).ok());
  REQUIRE(his.call("listen.add", {{"uri", ""}, {"prefix", true}, {"peers", "any"}}).ok());
  const auto reason = [](const ipc::Outcome<ipc::ChannelSocket>& opened) {
    return opened.ok() ? Reason::kClosed : opened.error().reason;
  };
  CHECK(reason(hers.open(bob, "ssh")) == Reason::kClosed);
  CHECK(reason(carols.open(bob, "ssh")) == Reason::kNotPermitted);
  CHECK(reason(carols.open(bob, "files/1")) == Reason::kClosed);
  CHECK(reason(hers.open(bob, "files/1")) == Reason::kNotPermitted);
  CHECK(reason(hers.open(bob, "else")) == Reason::kClosed);
  // It names whom it takes; that alone trusts nobody.
  REQUIRE(his.call("trust.unset", {{"id", "al"}}).ok());
  REQUIRE(his.call("listen.add", {{"uri", "both"}, {"only_peers", {"al"}}, {"peers", {"al"}}}).ok());
  REQUIRE(world.run_until([&] { return bob.manager->connection_count() == 1; }));
  REQUIRE(his.open(alice, "x").ok() == false);  // his connection: hers may open on it
  CHECK(reason(hers.open(bob, "ssh")) == Reason::kNotPermitted);
  CHECK(reason(hers.open(bob, "both")) == Reason::kClosed);
  CHECK(reason(carols.open(bob, "both")) == Reason::kNotPermitted);
  for (const Json& bad : {Json("any"), Json::array(), Json(std::vector<std::string>(65, "al")), Json::array({1})}) {
    CHECK(his.reason_of("listen.add", {{"uri", "b"}, {"only_peers", bad}}) == Reason::kInvalidArgument);
  }
  CHECK(his.reason_of("listen.add", {{"uri", "b"}, {"only_peers", {"nobody"}}}) == Reason::kNotFound);
}

TEST_CASE("fault B6: a peer is trusted for the uris of its scope, and narrowing ends what it does not cover") {
  ApiWorld world;
  ApiNode alice(world, 0);
  ApiNode bob(world, 1);
  ApiClient hers(world, alice);
  ApiClient his(world, bob);
  const auto scoped = [&](const Json& scope) {
    return his.call("trust.allow", {{"id", alice.id.hex()}, {"scope", scope}});
  };
  const auto reason = [](const ipc::Outcome<ipc::ChannelSocket>& opened) {
    return opened.ok() ? Reason::kClosed : opened.error().reason;
  };
  const Json files = {{"uri", "file://"}, {"prefix", true}};
  REQUIRE(scoped({files, {{"uri", "chat"}}}).ok());
  CHECK((*his.call("trust.list"))["entries"][0]["scope"] ==
        Json::array({{{"uri", "chat"}, {"prefix", false}}, {{"uri", "file://"}, {"prefix", true}}}));
  his.listen("*");
  his.listen_ask("asked");
  REQUIRE(his.call("listen.add", {{"uri", "open"}, {"peers", "any"}}).ok());
  auto file = hers.open(bob, "file://1");
  auto chat = hers.open(bob, "chat");
  auto any = hers.open(bob, "open");
  CHECK(reason(file) == Reason::kClosed);
  CHECK(reason(chat) == Reason::kClosed);
  CHECK(reason(any) == Reason::kClosed);
  CHECK(reason(hers.open(bob, "ssh")) == Reason::kNotPermitted);
  CHECK(reason(hers.open(bob, "chat2")) == Reason::kNotPermitted);
  // A request that waits for its answer is taken back.
  REQUIRE(scoped({files, {{"uri", "chat"}}, {{"uri", "asked"}}}).ok());
  std::optional<Reason> asked;
  hers->call("channel.open", {{"peer", bob.id.hex()}, {"uri", "asked"}},
             [&](ipc::Outcome<ipc::Json> reply) { asked = reply.ok() ? Reason::kClosed : reply.error().reason; });
  REQUIRE(world.run_until([&] { return his.requests.size() == 1; }));
  REQUIRE(scoped(Json::array({files})).ok());
  REQUIRE(world.run_until([&] { return asked.has_value() && bob.manager->channels().size() == 2; }));
  CHECK(*asked == Reason::kNotPermitted);
  CHECK(bob.manager->connection_count() == 1);
  CHECK(reason(hers.open(bob, "chat")) == Reason::kNotPermitted);
  CHECK(reason(hers.open(bob, "file://2")) == Reason::kClosed);
  // Allowed without one it is for everything again.
  REQUIRE(his.call("trust.allow", {{"id", alice.id.hex()}}).ok());
  CHECK(reason(hers.open(bob, "ssh")) == Reason::kClosed);
  for (const Json& bad : {Json::array(), Json::array({"file"}), Json("file"), Json::array({{{"uri", "jc:relay"}}})}) {
    CHECK(his.reason_of("trust.allow", {{"id", alice.id.hex()}, {"scope", bad}}) == Reason::kInvalidArgument);
  }
  CHECK(his.reason_of("trust.ban", {{"id", alice.id.hex()}, {"scope", Json::array({files})}}) ==
        Reason::kInvalidArgument);
}

TEST_CASE("fault F: an id that is not whole, or of the other kind, is named as that") {
  Pair pair;
  const std::string whole = pair.bob.id.hex();
  const auto said = [&](const char* method, Json params) {
    const auto reply = pair.sender.call(method, std::move(params));
    return reply.ok() ? std::string() : reply.error().message;
  };
  CHECK(said("trust.allow", {{"id", whole.substr(1)}}) ==
        "this is no id: it has 63 hex digits; a device's has 64, an account's or CA's 40");
  CHECK(said("trust.allow", {{"id", "nobody"}}) == "no such alias, and no id of 64 or 40 hex digits");
  CHECK(said("channel.open", {{"peer", whole.substr(1)}, {"uri", "x"}}) ==
        "this is no device id: it has 63 hex digits, and a device id has 64");
  CHECK(said("listen.add", {{"uri", "x"}, {"peers", Json::array({pair.bob.chain.account_id().hex()})}}) ==
        "this is no device id: it has 40 hex digits, as the id of an account or CA, and a device id has 64");
}
