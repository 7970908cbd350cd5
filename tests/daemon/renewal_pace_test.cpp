// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/renewal_pace.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

/// Makes it anew at `now`, as soon as it may be; how long that took.
proto::Duration next_renewal(RenewalPace& pace, proto::TimePoint& now) {
  const auto from = now;
  while (!pace.may_begin(now)) now += proto::Duration(1'000);
  pace.begin(now);
  CHECK_FALSE(pace.may_begin(now + std::chrono::hours(24)));  // one at a time
  pace.on_made();
  return now - from;
}

}  // namespace

TEST_CASE("fault E00: a node is made anew at once, then after pauses that grow while nothing helps") {
  RenewalPace pace;
  proto::TimePoint now{};
  CHECK(next_renewal(pace, now) == proto::Duration(0));
  for (const proto::Duration pause : RenewalPace::kPauses) CHECK(next_renewal(pace, now) == pause);
  CHECK(next_renewal(pace, now) == RenewalPace::kPauses.back());
  pace.on_helped();
  CHECK(next_renewal(pace, now) == RenewalPace::kGap);
  CHECK(next_renewal(pace, now) == RenewalPace::kPauses.front());
  CHECK(pace.count() == 8);
}
