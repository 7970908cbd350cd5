// SPDX-License-Identifier: GPL-3.0-or-later
// What clients of the control socket are answered, before there is an identity.
#include "daemon/local_api/ipc_server.h"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "daemon/local_api/api.h"
#include "ipc/schema.h"
#include "tests/daemon/api_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

namespace {

ApiNode::Options no_manager(IpcSettings settings = {}) {
  return {.manager = false, .policy = IceRequestPolicy::kTrusted, .ipc = std::move(settings)};
}
std::string request(int id, const std::string& method, const Json& params = Json::object()) {
  return ipc::request_line(id, method, params) + "\n";
}

}  // namespace

TEST_CASE("the table of methods is the schema's") {
  std::set<std::string> have;
  for (const api::Method& method : api::methods()) CHECK(have.insert(std::string(method.name)).second);
  std::set<std::string> want;
  const Json schema = ipc::api_schema();
  for (const Json& method : schema["methods"]) want.insert(method["name"].get<std::string>());
  CHECK(have == want);
}

TEST_CASE("a client is answered before there is an identity") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  ApiClient client(world, node);
  const auto hello = client.call("hello", {{"client", "test"}, {"version", "1"}});
  REQUIRE(hello.ok());
  CHECK((*hello)["server"] == "jami-connd");
  CHECK((*hello)["api"] == ipc::kApiVersion);
  CHECK((*hello)["ready"] == false);
  CHECK_FALSE(hello->contains("device"));

  const auto status = client.call("daemon.status");
  REQUIRE(status.ok());
  const auto read = ipc::read_result<ipc::DaemonStatus>(*status);
  REQUIRE(read.ok());
  CHECK(read->state == ipc::DaemonState::kStarting);
  CHECK(read->counts.clients == 1);
  CHECK(read->limits["max_clients"] == 256);
  CHECK(read->problems == std::vector<std::string>{"a test"});

  CHECK(client.reason_of("identity.show") == Reason::kNotReady);
  CHECK(client.reason_of("channel.open", {{"peer", std::string(64, 'a')}, {"uri", "u"}, {"timeout", 0.05}}) ==
        Reason::kNotReady);
  for (const char* method : {"identity.request", "identity.forget_account_key"}) {
    CHECK(client.reason_of(method) == Reason::kNotReady);
  }
  CHECK(client.reason_of("identity.sign", {{"request", "x"}}) == Reason::kNotReady);
  CHECK(client.reason_of("identity.revoke", {{"device", "x"}}) == Reason::kNotReady);
  CHECK(client.reason_of("identity.import", {{"pem", "x"}}) == Reason::kNotReady);
  CHECK(client.reason_of("identity.export_account", {{"passphrase", "long enough"}}) == Reason::kNotReady);
  CHECK((*client.call("connection.list"))["connections"].empty());
  CHECK((*client.call("channel.list"))["channels"].empty());
  CHECK(*client.call("rpc.discover") == ipc::api_schema());
  const auto snapshot = client.subscribe();
  CHECK_FALSE(snapshot.ready);
}

TEST_CASE("a call that cannot be is answered with what is wrong") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  ApiClient client(world, node);
  const auto code = [&](const std::string& method, Json params) {
    const auto result = client.call(method, std::move(params));
    return result.ok() ? 0 : result.error().code;
  };
  CHECK(code("no.such", Json::object()) == ipc::kMethodNotFound);
  CHECK(code("hello", Json::object()) == ipc::kInvalidParams);
  CHECK(code("hello", {{"client", 5}}) == ipc::kInvalidParams);
  CHECK(code("hello", {{"client", "x"}, {"clinet", "x"}}) == ipc::kInvalidParams);
  for (const api::Method& method : api::methods()) {
    INFO(method.name);
    // A manager is waited for first; the params of those methods are in api_channels_test.
    const int expected = method.needs_manager ? ipc::code_of(Reason::kNotReady) : ipc::kInvalidParams;
    CHECK(code(std::string(method.name), {{"no_such_member", 1}, {"timeout", 0.01}}) == expected);
  }
  CHECK(client.reason_of("channel.finish", {{"channel", 1}}) == Reason::kNotFound);
  CHECK(client.reason_of("channel.close", {{"channel", 1}}) == Reason::kNotFound);
  CHECK(client.reason_of("channel.accept", {{"request", 1}}) == Reason::kNotFound);
  CHECK(client.reason_of("channel.decline", {{"request", 1}}) == Reason::kNotFound);
  CHECK(client.reason_of("channel.cancel", {{"id", 1}}) == Reason::kNotFound);
  CHECK(client.reason_of("listen.remove", {{"listener", 1}}) == Reason::kNotFound);
  CHECK(client.reason_of("connection.accept", {{"request", 1}}) == Reason::kNotFound);
  CHECK(client.reason_of("connection.decline", {{"request", 1}}) == Reason::kNotFound);
}

TEST_CASE("every malformed line is answered, and the daemon lives") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  struct Case {
    std::string line;
    int code;
    bool closes;
  };
  const Case c = GENERATE(Case{"nonsense\n", ipc::kParseError, false}, Case{"\n", ipc::kParseError, false},
                          Case{"[]\n", ipc::kInvalidRequest, false}, Case{"5\n", ipc::kInvalidRequest, false},
                          Case{"{\"jsonrpc\":\"2.0\",\"method\":\"hello\"}\n", ipc::kInvalidRequest, false},
                          Case{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"hello\"}\n", ipc::kInvalidRequest, false},
                          Case{"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n", ipc::kInvalidRequest, false},
                          Case{std::string("{\0}\n", 4), ipc::kParseError, false},
                          Case{"{\"a\":\"\xff\"}\n", ipc::kParseError, false},
                          Case{std::string(40, '[') + "\n", ipc::kParseError, false},
                          Case{std::string((std::size_t{2} << 20), 'x') + "\n", ipc::kInvalidRequest, true});
  INFO(c.line.substr(0, 100));
  RawClient client(world, node.path());
  client.write(c.line);
  CHECK(client.line()["error"]["code"] == c.code);
  if (c.closes) {
    CHECK(client.closed());
  } else {
    client.write(request(2, "daemon.status"));
    CHECK(client.line()["id"] == 2);
  }
  ApiClient other(world, node);
  CHECK(other.call("daemon.status").ok());
}

TEST_CASE("a client that ends gets its answers first") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  RawClient client(world, node.path());
  client.write(request(1, "daemon.status") + request(2, "rpc.discover"));
  client.shut_down_writing();
  CHECK(client.line()["id"] == 1);
  CHECK(client.line()["id"] == 2);
  CHECK(client.closed());
  CHECK(world.run_until([&] { return node.server->clients().client_count() == 0; }));

  RawClient cut(world, node.path());
  cut.write("{\"jsonrpc\"");
  cut.shut_down_writing();
  CHECK(cut.line()["error"]["code"] == ipc::kParseError);
  CHECK(cut.closed());
}

TEST_CASE("many requests in one piece are all answered, and others come between") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  RawClient client(world, node.path());
  std::string all;
  constexpr int kMany = 500;
  for (int i = 0; i < kMany; ++i) all += request(i, "alias.list");
  client.write(all);
  for (int i = 0; i < kMany; ++i) REQUIRE(client.line()["id"] == i);
}

TEST_CASE("listeners: taken names, removal, and the end of their client") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  ApiClient first(world, node);
  ApiClient second(world, node);
  const auto listener = first.call("listen.add", {{"uri", "a"}});
  REQUIRE(listener.ok());
  const auto taken = second.call("listen.add", {{"uri", "a"}, {"mode", "ask"}});
  REQUIRE_FALSE(taken.ok());
  CHECK(taken.error().reason == Reason::kBusy);
  CHECK(taken.error().detail == "uid " + std::to_string(::getuid()));
  CHECK(second.call("listen.add", {{"uri", "a"}, {"prefix", true}}).ok());
  CHECK(first.reason_of("listen.add", {{"uri", "b"}, {"peers", "somebody"}}) == Reason::kInvalidArgument);
  CHECK(first.reason_of("listen.add", {{"uri", "b"}, {"peers", {"noalias"}}}) == Reason::kNotFound);
  CHECK(first.reason_of("listen.add", {{"uri", std::string(65'001, 'x')}}) == Reason::kInvalidArgument);
  CHECK(first.call("listen.remove", *listener).ok());
  CHECK(first.reason_of("listen.remove", *listener) == Reason::kNotFound);
  CHECK(second.call("listen.add", {{"uri", "a"}}).ok());
  second.leave();
  REQUIRE(world.run_until([&] { return node.server->clients().client_count() == 1; }));
  CHECK(first.call("listen.add", {{"uri", "a"}}).ok());
  CHECK(first.call("listen.add", {{"uri", "a"}, {"prefix", true}}).ok());
}

TEST_CASE("one client decides about unknown peers") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  ApiClient first(world, node);
  ApiClient second(world, node);
  CHECK(first.call("policy.register").ok());
  CHECK(first.call("policy.register").ok());
  CHECK(second.reason_of("policy.register") == Reason::kBusy);
  first.leave();
  REQUIRE(world.run_until([&] { return node.server->clients().client_count() == 1; }));
  CHECK(second.call("policy.register").ok());
}

TEST_CASE("a client that is no administrator is told so") {
  ApiWorld world;
  IpcSettings settings;
  // Root is always one, so that the other way round cannot be tried by root.
  if (::getuid() == 0) return;
  settings.access = ClientAccess{std::nullopt, ::getgid(), std::nullopt};
  ApiNode node(world, 0, no_manager(settings));
  ApiClient client(world, node);
  for (const api::Method& method : api::methods()) {
    if (!method.admin_only) continue;
    INFO(method.name);
    CHECK(client.reason_of(std::string(method.name)) == Reason::kNotPermitted);
  }
  CHECK(client.call("alias.list").ok());
}

TEST_CASE("a slow subscriber is told once what it has lost") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  RawClient slow(world, node.path());
  slow.write(request(1, "events.subscribe"));
  const auto first = slow.line()["result"]["seq"].get<std::uint64_t>();
  // Socket buffer and queue together take about 1.3 MB.
  constexpr std::uint64_t kMany = 10'000;
  const std::string filler(1'000, 'x');
  for (std::uint64_t i = 0; i < kMany; ++i) node.events.publish("network.state", {{"network", filler}});
  std::uint64_t seq = first;
  std::uint64_t lost = 0;
  while (seq < first + kMany) {
    const Json line = slow.line();
    REQUIRE(line.is_object());
    const auto next = line["params"]["seq"].get<std::uint64_t>();
    if (line["method"] == "events.lost") {
      REQUIRE(lost == 0);
      lost = line["params"]["lost"].get<std::uint64_t>();
      CHECK(next == seq + lost);
    } else {
      REQUIRE(next == seq + 1);
    }
    seq = next;
  }
  CHECK(lost > 1'000);
  CHECK(node.server->totals().events_lost == lost);
  node.events.publish("network.state", {{"network", "connected"}});
  const Json after = slow.line();
  CHECK(after["params"]["seq"] == seq + 1);
  CHECK(after["params"]["network"] == "connected");
  CHECK(after["params"]["time"].get<double>() > 1.6e9);
}

TEST_CASE("refused requests become few events") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  ApiClient client(world, node);
  client.subscribe();
  for (int i = 0; i < 100; ++i) node.events.publish("request.refused", {{"peer", "p"}, {"reason", "not-permitted"}});
  REQUIRE(world.run_until([&] { return client.seen_of("request.refused").size() == 2; }));
  const auto seen = client.seen_of("request.refused");
  CHECK(seen[0]["count"] == 1);
  CHECK(seen[1]["count"] == 99);
  CHECK(client.call("events.unsubscribe").ok());
  node.events.publish("network.state", {{"network", "connected"}});
  CHECK(client.call("alias.list").ok());
  CHECK(client.seen_of("network.state").empty());
}
