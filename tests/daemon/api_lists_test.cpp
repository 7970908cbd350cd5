// SPDX-License-Identifier: GPL-3.0-or-later
// Lists in pages, and the snapshot as a stream.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/daemon/api_pair.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

namespace {

/// All items, by pages of `limit`; how many pages is told.
std::vector<Json> in_pages(ApiClient& client, const std::string& method, const char* items, std::uint64_t limit,
                           std::size_t& pages) {
  std::vector<Json> all;
  Json params = {{"limit", limit}};
  for (pages = 1;; ++pages) {
    const auto page = client.call(method, params);
    REQUIRE(page.ok());
    for (const Json& item : (*page)[items]) all.push_back(item);
    if (!page->contains("next")) return all;
    params["after"] = (*page)["next"];
  }
}

/// Opens to a listener of bob's for names that begin with "n".
std::vector<ipc::ChannelSocket> open_many(Pair& pair, std::size_t count, const std::string& name) {
  std::vector<ipc::ChannelSocket> channels;
  for (std::size_t i = 0; i < count; ++i) {
    auto opened = pair.sender.open(pair.bob, name + std::to_string(i));
    REQUIRE(opened.ok());
    channels.push_back(std::move(*opened));
  }
  return channels;
}

}  // namespace

TEST_CASE("fault C7: more than fits into a line is refused whole, with how to ask, and shown in pages") {
  ApiWorld world;
  ApiNode node(world, 0, {.manager = false});
  ApiClient client(world, node);
  // As they would come from the disk: 100 bytes each, and a device id.
  constexpr std::size_t kMany = 600;
  for (std::size_t i = 0; i < kMany; ++i) {
    std::string name = "n" + std::to_string(i);
    REQUIRE(node.stores.aliases.set(name, node.id).ok());
  }
  std::size_t pages = 0;
  const auto all = in_pages(client, "alias.list", "aliases", 256, pages);
  CHECK(pages == 3);
  REQUIRE(all.size() == kMany);
  std::set<std::string> names;
  for (const Json& alias : all) names.insert(alias["name"].get<std::string>());
  CHECK(names.size() == kMany);
  // As one list it is the same, in the same order.
  const auto whole = client.call("alias.list");
  REQUIRE(whole.ok());
  CHECK((*whole)["aliases"] == Json(all));
  CHECK_FALSE(whole->contains("next"));
  CHECK(client.reason_of("alias.list", {{"limit", 0}}) == Reason::kInvalidArgument);
  CHECK(client.reason_of("connection.list", {{"after", "x"}}) == Reason::kInvalidArgument);

  const auto hello = client.call("hello", {{"client", "test"}});
  REQUIRE(hello.ok());
  CHECK((*hello)["features"] == Json({"pages", "snapshot-stream"}));
}

TEST_CASE("fault C7: channels, connections and trust in pages") {
  Pair pair;
  pair.receiver.listen("n*");
  const auto channels = open_many(pair, 5, "n");
  std::size_t pages = 0;
  const auto listed = in_pages(pair.sender, "channel.list", "channels", 2, pages);
  CHECK(pages == 3);
  REQUIRE(listed.size() == 5);
  CHECK(std::is_sorted(listed.begin(), listed.end(),
                       [](const Json& a, const Json& b) { return a["channel"] < b["channel"]; }));
  CHECK(listed[0]["uri"] == "n0");
  CHECK(in_pages(pair.sender, "connection.list", "connections", 1, pages).size() == 1);
  CHECK(in_pages(pair.sender, "trust.list", "entries", 1, pages).size() == 1);
  CHECK(in_pages(pair.sender, "crl.list", "crls", 1, pages).empty());
}

TEST_CASE("fault C7: a snapshot that does not fit is an error, and no subscription") {
  Pair pair;
  pair.receiver.listen("n*");
  // Names whose JSON is six times as long: three of them pass the bound.
  const auto channels = open_many(pair, 3, "n" + std::string(64'000, '\1'));
  CHECK(pair.sender.reason_of("channel.list") == Reason::kResourceLimit);
  const auto refused = pair.sender.call("events.subscribe");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().reason == Reason::kResourceLimit);
  CHECK(refused.error().message.find("stream: true") != std::string::npos);
  std::vector<std::string> notes;
  pair.sender->on_notification("events.snapshot", [&](const Json&) { notes.emplace_back("events.snapshot"); });
  pair.sender->on_event([&](const ipc::Event& event, const Json&) { notes.push_back(event.type); },
                        [](const ipc::Outcome<ipc::Snapshot>&) {});
  REQUIRE(pair.sender.call("daemon.status").ok());
  pair.alice.events.publish("network.state", Json{{"network", "connected"}});
  REQUIRE(pair.sender.call("daemon.status").ok());
  CHECK(notes.empty());
  std::size_t pages = 0;
  CHECK(in_pages(pair.sender, "channel.list", "channels", 256, pages).size() == 3);
  CHECK(pages >= 2);
}

TEST_CASE("fault C7: a snapshot as a stream: in parts, with events in order between them, and once") {
  Pair pair;
  pair.receiver.listen("n*");
  auto channels = open_many(pair, 3, "n" + std::string(64'000, '\1'));
  RawClient reader(pair.world, pair.alice.path());
  reader.write(ipc::request_line(1, "events.subscribe", {{"stream", true}}) + "\n");
  const Json answer = reader.line();
  REQUIRE(answer.contains("result"));
  CHECK(answer["result"]["connections"].empty());
  CHECK(answer["result"]["channels"].empty());
  std::vector<std::uint64_t> seen;
  std::size_t connections = 0;
  std::size_t parts = 0;
  std::uint64_t seq = answer["result"]["seq"].get<std::uint64_t>();
  bool done = false;
  while (!done) {
    const Json line = reader.line();
    REQUIRE(line.is_object());
    const Json& params = line["params"];
    if (line["method"] == "event") {
      CHECK(params["seq"] == ++seq);
      continue;
    }
    if (parts == 0) pair.alice.events.publish("network.state", Json{{"network", "connected"}});
    REQUIRE(line["method"] == "events.snapshot");
    CHECK(params["seq"] == seq);
    ++parts;
    done = params["done"].get<bool>();
    if (params.contains("connections")) connections += params["connections"].size();
    if (params.contains("channels")) {
      for (const Json& channel : params["channels"]) seen.push_back(channel["channel"].get<std::uint64_t>());
    }
  }
  CHECK(parts >= 3);
  CHECK(connections == 1);
  CHECK(seen.size() == 3);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  pair.alice.events.publish("network.state", Json{{"network", "connected"}});
  CHECK(reader.line()["params"]["seq"] == seq + 1);
}
