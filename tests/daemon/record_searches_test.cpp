// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/record_searches.h"

#include "tests/daemon/dht_fake_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::daemon::test;

namespace {

struct RecordsAtNode : PartsOfClient {
  RecordSearches searches{loop, poster, node};
  std::vector<proto::ByteVector> records;
  int ended = 0;

  void find(proto::TimePoint deadline) {
    searches.find("name", deadline, [this](const std::vector<proto::ByteVector>& all) {
      records = all;
      ++ended;
    });
  }
};

}  // namespace

TEST_CASE("RecordSearches: each record once, none that is too long, when the search is through") {
  RecordsAtNode at;
  at.find(at.later());
  REQUIRE(at.node.gets.size() == 1);
  CHECK(at.node.gets[0].key == dht::InfoHash::get("name"));
  const dht::Blob one{1};
  const dht::Blob two{2};
  CHECK(at.node.gets[0].values({value_of(one), value_of(two), value_of(dht::Blob(kMaxRecordBytes + 1, 3))}));
  CHECK(at.node.gets[0].values({value_of(one), value_of({})}));
  at.turn();
  CHECK(at.ended == 0);
  at.node.gets[0].over();
  CHECK(at.ended == 1);
  CHECK(at.records == std::vector<proto::ByteVector>{{1}, {2}});
}

TEST_CASE("RecordSearches: a deadline ends it; what is too many ends at once, with nothing") {
  RecordsAtNode at;
  at.find(at.loop.now());
  REQUIRE(run_until(at.loop, [&] { return at.ended == 1; }));
  CHECK(at.records.empty());
  for (std::size_t i = 0; i < kMaxLookups; ++i) at.find(at.later());
  at.find(at.later());
  CHECK(at.ended == 1);
  at.turn();
  CHECK(at.ended == 2);
}

TEST_CASE("RecordSearches: what is under way is asked of the next node, and ends with what it has") {
  RecordsAtNode at;
  at.node.there = false;
  at.find(at.later());
  CHECK(at.node.gets.empty());
  at.node.there = true;
  at.searches.take_up();
  REQUIRE(at.node.gets.size() == 1);
  CHECK(at.node.gets[0].values({value_of({1})}));
  at.turn();
  at.searches.stop();
  at.searches.end_all();
  CHECK(at.ended == 1);
  CHECK(at.records == std::vector<proto::ByteVector>{{1}});
  at.find(at.later());
  at.turn();
  CHECK(at.ended == 2);
  CHECK(at.node.gets.size() == 1);
}
