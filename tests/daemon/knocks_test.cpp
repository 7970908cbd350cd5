// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/knocks.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using proto::Reason;

namespace {

proto::DeviceId knocker(std::uint8_t number) {
  proto::DeviceId id;
  id.bytes[0] = number;
  return id;
}

proto::TimePoint second(int seconds) {
  return proto::TimePoint{} + std::chrono::seconds(seconds);
}

}  // namespace

TEST_CASE("fault F: the newest who were turned away are kept, each once, with how often and when") {
  Knocks knocks;
  for (std::uint8_t n = 1; n <= Knocks::kMost; ++n) knocks.refused(knocker(n), Reason::kNotPermitted, second(n));
  knocks.refused(knocker(1), Reason::kDeclined, second(100));
  REQUIRE(knocks.list().size() == Knocks::kMost);
  CHECK(knocks.list()[0].device == knocker(1));
  CHECK(knocks.list()[0].count == 2);
  CHECK(knocks.list()[0].reason == Reason::kDeclined);
  CHECK(knocks.list()[0].at == second(100));
  // One more: who came longest ago goes, whatever its number.
  knocks.refused(knocker(200), Reason::kBadCertificate, second(101));
  REQUIRE(knocks.list().size() == Knocks::kMost);
  CHECK(knocks.list()[0].device == knocker(200));
  CHECK(knocks.list().back().device == knocker(3));
}

TEST_CASE("fault F: who is banned, or refused for want of room, is not among those that could be let in") {
  Knocks knocks;
  for (const Reason reason : {Reason::kBanned, Reason::kBusy, Reason::kProtocolError}) {
    knocks.refused(knocker(1), reason, second(1));
  }
  CHECK(knocks.list().empty());
}

TEST_CASE("fault F: however many strangers come, few are kept") {
  Knocks knocks;
  for (int n = 0; n < 100'000; ++n) {
    proto::DeviceId id;
    id.bytes = {static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n >> 16)};
    knocks.refused(id, Reason::kNotPermitted, second(n));
  }
  CHECK(knocks.list().size() == Knocks::kMost);
  knocks.forget([](const proto::DeviceId&) { return true; });
  CHECK(knocks.list().empty());
}
