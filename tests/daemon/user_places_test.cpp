// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/user_places.h"

#include <catch2/catch.hpp>

#include "daemon/local_api/start_queue.h"

using connd::daemon::share_text;
using connd::daemon::StartQueue;
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

TEST_CASE("fault C1: calls that wait for the start are counted by user, with the bytes of their params") {
  StartQueue queue;
  CHECK(queue.add({.client = 1, .request = {}, .deadline = {}, .bytes = 10, .uid = 1'000}));
  CHECK(queue.add({.client = 2, .request = {}, .deadline = {}, .bytes = 5, .uid = 1'000}));
  CHECK(queue.add({.client = 3, .request = {}, .deadline = {}, .bytes = 7, .uid = 1'001}));
  CHECK(queue.used_by(1'000).calls == 2);
  CHECK(queue.used_by(1'000).bytes == 15);
  queue.remove_client(1);
  CHECK(queue.used_by(1'000).calls == 1);
  CHECK(queue.used_by(1'000).bytes == 5);
  CHECK(queue.used_by(1'002).calls == 0);
}
