// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/search_slots.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;

TEST_CASE("SearchSlots: so many run, others wait for their turn, the first before the others") {
  SearchSlots slots(2);
  CHECK(slots.enter(1));
  CHECK(slots.enter(2));
  CHECK_FALSE(slots.enter(3));
  CHECK_FALSE(slots.enter(4));
  CHECK_FALSE(slots.enter(5, true));
  CHECK(slots.running() == std::set<std::uint64_t>{1, 2});
  CHECK(slots.leave(1) == 5);
  CHECK(slots.running() == std::set<std::uint64_t>{2, 5});
  CHECK_FALSE(slots.leave(3));  // it only waited: nobody's turn comes by it
  CHECK(slots.running().size() == 2);
  CHECK(slots.leave(5) == 4);
  CHECK_FALSE(slots.leave(2));
  CHECK_FALSE(slots.leave(4));
  CHECK(slots.running().empty());
  CHECK(slots.enter(6));
}
