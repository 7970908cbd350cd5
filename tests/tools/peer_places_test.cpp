// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/peer_places.h"

#include <catch2/catch.hpp>

using connd::tools::PeerPlaces;

TEST_CASE("fault H: one peer gets at most half of the places") {
  PeerPlaces places(4);
  for (int n = 0; n < 2; ++n) {
    REQUIRE(places.may_have_more("phone", "alice"));
    places.take("phone", "alice");
  }
  CHECK_FALSE(places.may_have_more("phone", "alice"));
  CHECK_FALSE(places.may_have_more("laptop", "alice"));   // her other devices are the same peer
  CHECK_FALSE(places.may_have_more("phone", "mallory"));  // and so is the device under another name
  CHECK(places.may_have_more("laptop", "bob"));
  CHECK(places.free());
  places.take("laptop", "bob");
  places.take("tablet", "");
  CHECK_FALSE(places.free());
  CHECK(places.of("laptop", "alice") == 2);
  CHECK(places.of("tablet", "") == 1);
  places.leave("phone", "alice");
  CHECK(places.free());
  CHECK(places.may_have_more("phone", "alice"));
  places.leave("phone", "alice");
  CHECK(places.of("phone", "alice") == 0);
}
