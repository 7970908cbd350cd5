// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/flood_guard.h"

#include <catch2/catch.hpp>

using namespace connd::proto;
using namespace std::chrono_literals;

namespace {
constexpr TimePoint kNow{Duration{1'000'000}};

/// How many are let through.
template <class Take>
std::uint32_t taken(Take take) {
  std::uint32_t count = 0;
  while (take()) ++count;
  return count;
}
}  // namespace

TEST_CASE("FloodGuard: requests and noise have their bursts, and come back with time, each by itself") {
  FloodGuard guard(kNow);
  CHECK(taken([&] { return guard.request(kNow); }) == kRequestBurst);
  CHECK(taken([&] { return guard.noise(kNow); }) == kNoiseBurst);
  CHECK(taken([&] { return guard.request(kNow + 1s); }) == kRequestRate);
  CHECK(taken([&] { return guard.noise(kNow + 1s); }) == kNoiseRate);
}

TEST_CASE("FloodGuard: windows are earned by channels that come and by bytes that were sent, not by time") {
  FloodGuard guard(kNow);
  CHECK(taken([&] { return guard.window(kNow); }) == kWindowBurst);
  CHECK(taken([&] { return guard.window(kNow + 1h); }) == 0);
  guard.channel_came();
  CHECK(taken([&] { return guard.window(kNow); }) == 1);
  // What is too little for one is not lost.
  guard.sent(kBytesPerWindow - 1);
  CHECK_FALSE(guard.window(kNow));
  guard.sent(kBytesPerWindow + 1);
  CHECK(taken([&] { return guard.window(kNow); }) == 2);
  // They pile up to a burst at most.
  guard.sent(kBytesPerWindow * (std::size_t{2} * kWindowBurst));
  CHECK(taken([&] { return guard.window(kNow); }) == kWindowBurst);
}
