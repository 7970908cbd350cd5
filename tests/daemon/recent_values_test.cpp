// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/recent_values.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;

TEST_CASE("RecentValues: what came lately is known, the oldest is forgotten, and so is what was given up") {
  RecentValues<std::size_t> recent;
  CHECK(recent.add(0));
  CHECK_FALSE(recent.add(0));
  for (std::size_t i = 1; i < recent.kMax; ++i) CHECK(recent.add(i));
  CHECK_FALSE(recent.add(0));
  CHECK(recent.add(recent.kMax));  // in place of the oldest
  CHECK(recent.add(0));
  CHECK_FALSE(recent.add(2));
  recent.forget_last();
  CHECK(recent.add(0));
}
