// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/user_paces.h"

#include <catch2/catch.hpp>

using connd::daemon::UserPaces;
using connd::proto::TimePoint;
using namespace std::chrono_literals;

TEST_CASE("fault C1: one user opens at a pace, another at its own") {
  UserPaces paces;
  TimePoint now{1h};
  std::uint32_t opened = 0;
  while (paces.may_open(1, now)) ++opened;
  CHECK(opened == UserPaces::kOpenBurst);
  CHECK(paces.may_open(2, now));
  now += 1s;
  opened = 0;
  while (paces.may_open(1, now)) ++opened;
  CHECK(opened == UserPaces::kOpensPerSecond);
}

TEST_CASE("fault C1: who gives up more opens than it may opens nothing for a while") {
  UserPaces paces;
  TimePoint now{1h};
  for (std::uint32_t i = 0; i < UserPaces::kCancelBurst; ++i) paces.cancelled(1, now);
  CHECK(paces.may_open(1, now));
  paces.cancelled(1, now);
  CHECK_FALSE(paces.may_open(1, now));
  CHECK(paces.may_open(2, now));
  now += 1s;
  CHECK_FALSE(paces.may_open(1, now));
  now += 1s;
  CHECK(paces.may_open(1, now));
}

TEST_CASE("users who have not opened for long are forgotten") {
  UserPaces paces;
  TimePoint now{1h};
  for (uid_t uid = 0; uid < 100'000; ++uid) {
    now += 1s;
    CHECK(paces.may_open(uid, now));
  }
  CHECK(paces.size() <= 1'024);
}
