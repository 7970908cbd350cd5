// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/held_requests.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;

TEST_CASE("a held request is there once, until it is taken or its connection goes") {
  int offers = 0;
  HeldRequests held([&] { ++offers; });
  held.hold(1, 10, "one");
  held.hold(2, 10, "two");
  held.hold(3, 11, "three");
  CHECK(held.contains(2));
  CHECK(held.channels().size() == 3);
  const auto taken = held.take(2);
  REQUIRE(taken);
  CHECK(taken->connection == 10);
  CHECK(taken->uri == "two");
  CHECK_FALSE(held.take(2));
  CHECK_FALSE(held.contains(2));
  held.drop(10);
  CHECK(held.channels() == std::vector<connd::proto::ChannelHandle>{3});
  CHECK(offers == 0);
}

TEST_CASE("held requests are offered when an open wants one, or something ends while there are any") {
  int offers = 0;
  HeldRequests held([&] { ++offers; });
  held.look();
  CHECK(offers == 0);
  held.hold(1, 10, "one");
  held.look();
  CHECK(offers == 1);
  held.wanted_by(7);
  held.wanted_by(8);
  CHECK(offers == 3);
  CHECK(held.takers() == std::vector<OpenNumber>{7, 8});
  CHECK(held.takers().empty());
}
