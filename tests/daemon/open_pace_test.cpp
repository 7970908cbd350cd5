// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/open_pace.h"

#include <catch2/catch.hpp>

using namespace connd;
using connd::daemon::OpenPace;
using namespace std::chrono_literals;

namespace {
constexpr proto::TimePoint kNow{proto::Duration{1'000'000}};

std::uint32_t opened(OpenPace& pace, proto::TimePoint now) {
  std::uint32_t count = 0;
  while (pace.open(now)) ++count;
  return count;
}
}  // namespace

TEST_CASE("OpenPace: half of what a peer takes, burst and refill") {
  OpenPace pace(kNow);
  CHECK(opened(pace, kNow) == proto::kRequestBurst / 2);
  CHECK(opened(pace, kNow + 1s) == proto::kRequestRate / 2);
}

TEST_CASE("OpenPace: after too many cancels nothing is opened until some more would be noise to nobody") {
  OpenPace pace(kNow);
  for (std::uint32_t i = 0; i < OpenPace::kCancelBurst; ++i) pace.cancelled(kNow);
  CHECK(pace.open(kNow));
  pace.cancelled(kNow);
  CHECK_FALSE(pace.open(kNow));
  CHECK_FALSE(pace.open(kNow + 1s));  // 500 may be cancelled by then
  CHECK(pace.open(kNow + 2s));
  // The pause was not taken from what may be cancelled.
  for (std::uint32_t i = 0; i < OpenPace::kCancelPause; ++i) pace.cancelled(kNow + 2s);
  CHECK(pace.open(kNow + 2s));
  pace.cancelled(kNow + 2s);
  CHECK_FALSE(pace.open(kNow + 2s));
}
