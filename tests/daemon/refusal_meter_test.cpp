// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/refusal_meter.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using std::chrono::milliseconds;

namespace {

RefusalMeter::Report refusal(std::string peer, std::string reason = "not-permitted") {
  return {std::move(peer), std::move(reason), {}, 1};
}
proto::TimePoint at(int ms) {
  return proto::TimePoint{milliseconds(ms)};
}

}  // namespace

TEST_CASE("a refusal is reported at once, further ones of the peer once a second, with their count") {
  RefusalMeter meter;
  CHECK(meter.next_deadline() == proto::kNever);
  auto now = meter.refused(refusal("a"), at(0));
  REQUIRE(now.size() == 1);
  CHECK(now[0].count == 1);
  CHECK(meter.refused(refusal("a"), at(10)).empty());
  CHECK(meter.refused(refusal("a", "banned"), at(20)).empty());
  CHECK(meter.refused(refusal("b"), at(30)).size() == 1);
  CHECK(meter.next_deadline() == at(1000));
  CHECK(meter.due(at(999)).empty());
  const auto due = meter.due(at(1000));
  REQUIRE(due.size() == 1);
  CHECK(due[0].peer == "a");
  CHECK(due[0].count == 2);
  CHECK(due[0].reason == "banned");
  CHECK(meter.next_deadline() == at(2000));
  CHECK(meter.due(at(2000)).empty());
  CHECK(meter.next_deadline() == proto::kNever);
  CHECK(meter.refused(refusal("a"), at(2001)).size() == 1);
}

TEST_CASE("invented peers do not make it grow, nor report") {
  RefusalMeter meter;
  std::size_t reported = 0;
  for (int i = 0; i < 10'000; ++i) reported += meter.refused(refusal(std::to_string(i)), at(1)).size();
  CHECK(reported == RefusalMeter::kMaxPeers);
}
