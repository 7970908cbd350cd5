// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/token_bucket.h"

#include <catch2/catch.hpp>

using namespace connd::proto;
using std::chrono::milliseconds;

TEST_CASE("a token bucket gives its burst at once, and then its rate") {
  TimePoint now{milliseconds(1'000'000)};
  TokenBucket bucket(4, 2, now);
  for (int i = 0; i < 4; ++i) CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
  CHECK_FALSE(bucket.take(now + milliseconds(499)));
  CHECK(bucket.take(now + milliseconds(500)));
  CHECK_FALSE(bucket.take(now + milliseconds(501)));
  now += milliseconds(60'000);
  for (int i = 0; i < 4; ++i) CHECK(bucket.take(now));  // it does not save up more
  CHECK_FALSE(bucket.take(now));
}
