// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/peer_places.h"

#include <catch2/catch.hpp>

using connd::tools::PeerPlaces;
using connd::tools::place_for_another;
using connd::tools::PlaceHolder;
using std::chrono::seconds;

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

TEST_CASE("fault E6: who has the most places gives one that does not get on to who waits") {
  const auto at = [](int second) { return std::chrono::steady_clock::time_point(seconds(second)); };
  const auto never = std::chrono::steady_clock::time_point::max();  // not its sender's turn
  const std::vector<PlaceHolder> holders{{1, at(1)}, {3, at(50)}, {3, at(20)}, {3, at(30)}, {5, at(100)}, {5, never}};
  CHECK(place_for_another(holders, 0, at(60)) == 2);
  CHECK(place_for_another(holders, 2, at(60)) == 2);
  CHECK_FALSE(place_for_another(holders, 3, at(60)));  // it would only change who waits
  CHECK(place_for_another(holders, 0, at(100)) == 4);
  CHECK(place_for_another(holders, 0, at(19)) == 0);
  CHECK_FALSE(place_for_another(holders, 0, at(0)));
  CHECK_FALSE(place_for_another({}, 0, at(60)));
}
