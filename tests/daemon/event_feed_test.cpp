// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/event_feed.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using nlohmann::json;

namespace {

struct Reader final : EventFeed::Subscriber {
  Reader(ClientNumber client, bool administrator) : client_(client), administrator_(administrator) {}
  [[nodiscard]] ClientNumber number() const override { return client_; }
  [[nodiscard]] bool admin() const override { return administrator_; }
  void event(std::string_view members) override { seen.push_back(json::parse("{" + std::string(members) + "}")); }
  std::vector<json> seen;

 private:
  ClientNumber client_;
  bool administrator_;
};

struct Fixture {
  World world;
  TempDir dir;
  Stores stores = open_stores(dir.path());
  EventHub hub;
  EventFeed feed{world.loop, hub, stores};
};

OwnedChannel owned_by(ClientNumber client) {
  OwnedChannel owned;
  owned.client = client;
  owned.uid = 1000;
  owned.pid = 7;
  owned.uri = "u";
  return owned;
}

}  // namespace

TEST_CASE("fault D8: an event is made for subscribers, and for nobody else") {
  Fixture f;
  int made = 0;
  const auto publish = [&] {
    f.hub.publish("network.state", [&] {
      ++made;
      return json{{"network", "connected"}};
    });
  };
  publish();
  CHECK_FALSE(f.hub.heard());
  CHECK(made == 0);
  Reader reader(1, true);
  Reader other(2, true);
  f.feed.subscribe(reader);
  f.feed.subscribe(reader);  // there is one subscription each
  f.feed.subscribe(other);
  publish();
  CHECK(made == 1);
  REQUIRE(reader.seen.size() == 1);
  CHECK(reader.seen[0]["type"] == "network.state");
  CHECK(reader.seen[0]["network"] == "connected");
  CHECK(reader.seen == other.seen);
  f.feed.unsubscribe(1);
  publish();
  CHECK(reader.seen.size() == 1);
  CHECK(other.seen.size() == 2);
  f.feed.unsubscribe(2);
  CHECK_FALSE(f.feed.heard());
  CHECK_FALSE(f.hub.heard());
  publish();
  CHECK(made == 2);
}

TEST_CASE("fault D5: a connection that is up is looked for by its number, where somebody listens") {
  Fixture f;
  const json data = {{"connection", 5}, {"peer", "p"}, {"after_ms", 3}, {"certificate", "PEM"}};
  f.hub.publish("connection.connected", data);
  Reader reader(1, false);
  f.feed.subscribe(reader);
  f.hub.publish("connection.connected", data);  // it has ended meanwhile, or there is no manager any more
  REQUIRE(reader.seen.size() == 1);
  CHECK(reader.seen[0]["first"] == true);
  CHECK(reader.seen[0]["connection"] == 5);
}

TEST_CASE("who hears what: trust and refusals are for administrators, channels for their owners too") {
  Fixture f;
  Reader admin(1, true);
  Reader owner(2, false);
  Reader other(3, false);
  for (Reader* reader : {&admin, &owner, &other}) f.feed.subscribe(*reader);
  f.hub.publish("trust.changed", json{{"id", "x"}});
  f.hub.publish("request.refused", json{{"peer", "p"}, {"reason", "banned"}});
  CHECK(admin.seen.size() == 2);
  f.feed.channel_opened(9, owned_by(2));
  REQUIRE(admin.seen.size() == 3);
  REQUIRE(owner.seen.size() == 1);
  CHECK(admin.seen[2]["pid"] == 7);
  CHECK_FALSE(owner.seen[0].contains("pid"));
  CHECK(owner.seen[0]["channel"] == 9);
  ChannelEnd end{};
  end.channel = 9;
  end.reason = proto::Reason::kReset;
  end.text = "why";
  f.feed.channel_closed(end, owned_by(2));
  REQUIRE(owner.seen.size() == 2);
  CHECK(owner.seen[1]["reason"] == "reset");
  CHECK(owner.seen[1]["detail"] == "why");
  CHECK(admin.seen.size() == 4);
  CHECK(other.seen.empty());
}
