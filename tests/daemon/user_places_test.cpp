// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/user_places.h"

#include <catch2/catch.hpp>

using connd::daemon::share_text;
using connd::daemon::UserPlaces;

namespace {
/// How many places users get who want all, one after another.
std::size_t taken_by(const UserPlaces& rule, std::size_t users, std::size_t all) {
  std::size_t taken = 0;
  for (std::size_t user = 0; user < users; ++user) {
    std::size_t own = 0;
    while (rule.may_take(own, taken, all)) {
      ++own;
      ++taken;
    }
  }
  return taken;
}
}  // namespace

TEST_CASE("fault C1: one user has a part of the places, and two do not have all") {
  const UserPlaces rule{75};
  CHECK(rule.share(256) == 192);
  CHECK(taken_by(rule, 1, 256) == 192);
  CHECK(taken_by(rule, 2, 256) == 224);
  // Those who have none still get one each; the last ones are for administrators.
  CHECK(taken_by(rule, 10, 256) == 232);
  CHECK(taken_by(rule, 1'000, 256) == 240);
}

TEST_CASE("a rule for everything gives everything to one") {
  CHECK(taken_by(UserPlaces{}, 1, 256) == 256);
  CHECK(UserPlaces{}.share(4) == 4);
  CHECK_FALSE(UserPlaces{}.shared());
}

TEST_CASE("small tables: one user always gets one, and nothing overflows") {
  const UserPlaces rule{50};
  CHECK(rule.share(1) == 1);
  CHECK(taken_by(rule, 1, 4) == 2);
  CHECK(taken_by(rule, 4, 4) == 4);
  CHECK(rule.share(~std::size_t{0}) > std::size_t{1} << 62);
  CHECK(share_text("clients", 2, 4) == "this user has its share of clients: 2 of 4");
}
