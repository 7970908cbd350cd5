// SPDX-License-Identifier: GPL-3.0-or-later
// Connections as the API shows and ends them: who is let in, and what subscribers hear.
#include <catch2/catch.hpp>

#include "tests/daemon/api_pair.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

TEST_CASE("a ban ends the connection now, and opens to the banned fail") {
  Pair pair;
  pair.receiver.listen("a");
  auto [out, in] = pair.join("a");
  REQUIRE(pair.sender.call("trust.ban", {{"id", pair.bob.id.hex()}}).ok());
  const auto mine = end_of(pair, out);
  REQUIRE(mine);
  CHECK(proto::reason_info(mine->reason).exit_code != 0);
  REQUIRE(end_of(pair, in));
  const auto opened = pair.sender.open(pair.bob, "a");
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().reason == Reason::kBanned);
}

TEST_CASE("connection.close ends channels and pending opens") {
  Pair pair;
  pair.receiver.listen("a");
  pair.receiver.listen_ask("b");
  auto [out, in] = pair.join("a");
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  pair.sender->connect_device(pair.bob.id.hex(), "b", [&](auto channel) { results.push_back(std::move(channel)); });
  REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  const auto closed = pair.sender.call("connection.close", {{"peer", pair.bob.chain.account_id().hex()}});
  REQUIRE(closed.ok());
  CHECK((*closed)["closed"] == 1);
  const auto end = end_of(pair, out);
  REQUIRE(end);
  CHECK(end->reason == Reason::kConnectionLost);
  REQUIRE(pair.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].error().reason == Reason::kCancelled);
  CHECK(pair.sender.reason_of("connection.close", {{"peer", "nobody"}}) == Reason::kNotFound);
}

TEST_CASE("a peer that is not allowed reaches only listeners that say so") {
  Pair pair;
  // Alice has dialled Bob, whom she has not allowed: his requests come over that connection.
  REQUIRE(pair.alice.stores.trust.unset(TrustSubject(pair.bob.id)).ok());
  pair.receiver.listen("a");
  auto [out, in] = pair.join("a");
  pair.sender.listen("closed");
  pair.sender.listen("open", "any");
  pair.sender.listen("named", Json::array({pair.bob.id.hex()}));
  const auto reason = [&](const std::string& uri) {
    const auto opened = pair.receiver.open(pair.alice, uri);
    return opened.ok() ? Reason::kClosed : opened.error().reason;
  };
  CHECK(reason("closed") == Reason::kNotPermitted);
  CHECK(reason("nothing") == Reason::kNotPermitted);
  CHECK(reason("open") == Reason::kClosed);
  CHECK(reason("named") == Reason::kClosed);
}

TEST_CASE("the policy's owner is asked about unknown peers") {
  Pair pair({}, with_policy(IceRequestPolicy::kAsk));
  REQUIRE(pair.bob.stores.trust.unset(TrustSubject(pair.alice.id)).ok());
  pair.receiver.listen("a", "any");
  std::vector<Json> asked;
  pair.receiver->on_notification("connection.request", [&](const Json& params) { asked.push_back(params); });
  REQUIRE(pair.receiver.call("policy.register").ok());
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  pair.sender->connect_device(pair.bob.id.hex(), "a", [&](auto channel) { results.push_back(std::move(channel)); });
  REQUIRE(pair.run_until([&] { return asked.size() == 1; }));
  CHECK(asked[0]["peer"] == pair.alice.id.hex());
  CHECK(asked[0]["trust"] == "unknown");
  REQUIRE(pair.receiver.call("connection.accept", {{"request", asked[0]["request"]}}).ok());
  CHECK(pair.receiver.reason_of("connection.accept", {{"request", asked[0]["request"]}}) == Reason::kNotFound);
  REQUIRE(pair.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].ok());
}

TEST_CASE("fault F: who waits for an answer is listed, and an administrator answers in the owner's place") {
  Pair pair({}, with_policy(IceRequestPolicy::kAsk));
  REQUIRE(pair.bob.stores.trust.unset(TrustSubject(pair.alice.id)).ok());
  pair.receiver.listen("a", "any");
  ApiClient other(pair.world, pair.bob);
  const auto waiting = [&] {
    const auto reply = other.call("connection.requests");
    REQUIRE(reply.ok());
    auto result = ipc::read_result<ipc::ConnectionRequestsResult>(*reply);
    REQUIRE(result.ok());
    return *std::move(result);
  };
  CHECK_FALSE(waiting().registered);
  std::vector<Json> asked;
  std::vector<Json> over;
  pair.receiver->on_notification("connection.request", [&](const Json& params) { asked.push_back(params); });
  pair.receiver->on_notification("connection.request_cancelled", [&](const Json& params) { over.push_back(params); });
  REQUIRE(pair.receiver.call("policy.register").ok());
  CHECK(waiting().registered);
  CHECK(waiting().requests.empty());
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  pair.sender->connect_device(pair.bob.id.hex(), "a", [&](auto channel) { results.push_back(std::move(channel)); });
  REQUIRE(pair.run_until([&] { return !asked.empty(); }));
  const auto listed = waiting();
  REQUIRE(listed.requests.size() == 1);
  CHECK(listed.requests[0].peer == pair.alice.id.hex());
  CHECK(listed.requests[0].request == asked[0]["request"]);
  CHECK(listed.requests[0].left_s > 0);
  const Json request = {{"request", asked[0]["request"]}};
  REQUIRE(other.call("connection.accept", request).ok());
  CHECK(other.reason_of("connection.accept", request) == Reason::kNotFound);
  CHECK(pair.receiver.reason_of("connection.accept", request) == Reason::kNotFound);
  REQUIRE(pair.run_until([&] { return results.size() == 1 && over.size() == 1; }));
  CHECK(results[0].ok());
  CHECK(over[0]["request"] == asked[0]["request"]);
  CHECK(over[0]["reason"] == "cancelled");
  CHECK(waiting().requests.empty());
}

TEST_CASE("fault F: status names those who were turned away, by the id that trust.allow takes") {
  Pair pair;
  REQUIRE(pair.bob.stores.trust.unset(TrustSubject(pair.alice.id)).ok());
  const auto snapshot = pair.receiver.subscribe();
  ipc::Client::OpenOptions options;
  options.timeout_s = 3;
  const auto refused = pair.sender.open(pair.bob, "a", options);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().reason == Reason::kNoAnswerOrRefused);
  const auto shown = [&] {
    const auto status = ipc::read_result<ipc::DaemonStatus>(*pair.receiver.call("daemon.status"));
    REQUIRE(status.ok());
    return status->turned_away;
  };
  REQUIRE(shown().size() == 1);
  CHECK(shown()[0].peer == pair.alice.id.hex());
  CHECK(shown()[0].reason == Reason::kNotPermitted);
  CHECK(shown()[0].count >= 1);
  REQUIRE(pair.receiver.call("trust.allow", {{"id", shown()[0].peer}}).ok());
  CHECK(shown().empty());
  pair.receiver.listen("a");
  CHECK(pair.sender.open(pair.bob, "a").ok());
}

TEST_CASE("events come in order, numbered one by one") {
  Pair pair;
  const auto snapshot = pair.sender.subscribe();
  CHECK(snapshot.connections.empty());
  pair.receiver.listen("a");
  {
    auto [out, in] = pair.join("a");
    out.finish();
    in.finish();
    REQUIRE(end_of(pair, out));
  }
  REQUIRE(pair.run_until([&] { return !pair.sender.seen_of("channel.closed").empty(); }));
  std::vector<std::string> types;
  std::uint64_t seq = snapshot.seq;
  for (const auto& [type, members] : pair.sender.seen) {
    CHECK(members["seq"] == ++seq);
    if (type != "connection.progress") types.push_back(type);
  }
  CHECK(types ==
        std::vector<std::string>{"connection.connecting", "connection.connected", "channel.opened", "channel.closed"});
  const Json connected = pair.sender.seen_of("connection.connected")[0];
  CHECK(ipc::read_result<ipc::ConnectionInfo>(connected).ok());
  CHECK(connected["first"] == true);
  CHECK(connected["certificate"].get<std::string>().starts_with("-----BEGIN CERTIFICATE"));
  CHECK(ipc::read_result<ipc::ChannelInfo>(pair.sender.seen_of("channel.opened")[0]).ok());
  CHECK(pair.sender.seen_of("channel.closed")[0]["uri"] == "a");
  const Json progress = pair.sender.seen_of("connection.progress")[0];
  CHECK(progress["state"].is_string());
  CHECK(progress["after_ms"].is_number());
}
