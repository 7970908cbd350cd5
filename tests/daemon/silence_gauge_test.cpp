// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/silence_gauge.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

TEST_CASE("SilenceGauge: what comes after a silence is noticed, once") {
  const auto at = [](int s) { return proto::TimePoint{std::chrono::seconds(s)}; };
  SilenceGauge gauge(at(0), std::chrono::seconds(25));
  CHECK_FALSE(gauge.on_count(5, at(10)));
  CHECK_FALSE(gauge.on_count(5, at(34)));
  CHECK_FALSE(gauge.silent());
  CHECK_FALSE(gauge.on_count(5, at(35)));
  CHECK(gauge.silent());
  CHECK_FALSE(gauge.on_count(5, at(99)));
  CHECK(gauge.on_count(6, at(100)));
  CHECK_FALSE(gauge.silent());
  CHECK_FALSE(gauge.on_count(7, at(101)));
  // From the start, too, though nothing has ever come.
  SilenceGauge deaf(at(0), std::chrono::seconds(25));
  CHECK_FALSE(deaf.on_count(0, at(25)));
  CHECK(deaf.on_count(1, at(26)));
}
