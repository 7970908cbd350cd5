// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/device_searches.h"

#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

struct SearchesAtNode : PartsOfClient {
  DeviceSearches searches{loop, poster, node};
  std::vector<DhtDevice> found;
  int ended = 0;

  void find(const proto::ShortDeviceId& short_id, proto::TimePoint deadline) {
    proto::AccountId id;
    std::copy(short_id.bytes.begin(), short_id.bytes.end(), id.bytes.begin());
    searches.find(id, deadline,
                  [this](const std::optional<DhtDevice>& one) { one ? found.push_back(*one) : void(++ended); });
  }
};

}  // namespace

TEST_CASE("DeviceSearches finds a device once, however often it comes, and is over with the search") {
  SearchesAtNode at;
  at.find(device(0).short_id, at.later());
  REQUIRE(at.node.gets.size() == 2);
  CHECK(at.node.gets[1].values({certificate_value(device(0)), certificate_value(device(1))}));
  CHECK(at.node.gets[1].values({certificate_value(device(0))}));
  at.node.gets[0].over();
  at.node.gets[1].over();
  REQUIRE(run_until(at.loop, [&] { return at.ended == 1; }));
  REQUIRE(at.found.size() == 1);
  CHECK(at.found[0].id == device(0).id);
}

TEST_CASE("DeviceSearches: who finds nothing is asked again, until the deadline") {
  SearchesAtNode at;
  at.find(device(0).short_id, at.later());
  at.node.gets[0].over();
  CHECK(at.ended == 0);
  at.node.gets[1].over();
  REQUIRE(run_until(at.loop, [&] { return at.node.gets.size() == 4; }));
  CHECK(at.ended == 0);
  at.searches.stop();
  at.node.gets[2].over();
  at.node.gets[3].over();
  CHECK(at.ended == 1);
}

TEST_CASE("DeviceSearches: what was read for the node before does not end the search in the next one") {
  SearchesAtNode at;
  at.find(device(0).short_id, at.later());
  CHECK(at.node.gets[1].values({certificate_value(device(0))}));
  at.loop.post([&] { at.searches.take_up(); });  // another node, while the value is being read
  at.turn();
  REQUIRE(run_until(at.loop, [&] { return !at.found.empty(); }));
  REQUIRE(at.node.gets.size() == 4);
  at.turn();
  at.node.gets[2].over();
  CHECK(at.ended == 0);
  at.node.gets[3].over();
  CHECK(at.ended == 1);
}

TEST_CASE("DeviceSearches: those that find no place wait, and each ends with the client") {
  SearchesAtNode at;
  at.find(device(0).short_id, at.loop.now());
  for (std::size_t i = 1; i <= kMaxLookups; ++i) at.find(device(1).short_id, at.later());
  CHECK(at.node.gets.size() == 2 * kMaxLookups);
  REQUIRE(run_until(at.loop, [&] { return at.ended == 1; }));
  CHECK(at.node.gets.size() == 2 * kMaxLookups + 2);
  at.searches.stop();
  at.find(device(0).short_id, at.later());
  CHECK(at.ended == 1);
  at.turn();
  CHECK(at.ended == 2);
  at.searches.end_all();
  CHECK(at.ended == 2 + static_cast<int>(kMaxLookups));
  CHECK(at.node.gets.size() == 2 * kMaxLookups + 2);
}
