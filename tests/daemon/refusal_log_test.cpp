// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/refusal_log.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using proto::Reason;
using std::chrono::seconds;

namespace {

proto::DeviceId device(unsigned number) {
  proto::DeviceId id;
  id.bytes[0] = static_cast<std::uint8_t>(number);
  id.bytes[1] = static_cast<std::uint8_t>(number >> 8);
  return id;
}

}  // namespace

TEST_CASE("fault E17: a peer that is refused again and again has one line, which counts") {
  RefusalLog log;
  const proto::TimePoint begin{seconds(1000)};
  const auto first = log.refused(device(1), Reason::kBanned, begin);
  REQUIRE(first);
  CHECK(first->more == 0);
  for (int n = 0; n < 15; ++n) CHECK_FALSE(log.refused(device(1), Reason::kBanned, begin + seconds(n)));
  CHECK(log.refused(device(2), Reason::kBanned, begin));  // another peer has its own
  const auto later = log.refused(device(1), Reason::kBanned, begin + RefusalLog::kInterval);
  REQUIRE(later);
  CHECK(later->more == 15);
  CHECK_FALSE(log.refused(device(1), Reason::kBanned, begin + RefusalLog::kInterval + seconds(1)));
}

TEST_CASE("fault E17: another reason is told, but not each time that it changes") {
  RefusalLog log;
  const proto::TimePoint begin{seconds(1000)};
  CHECK(log.refused(device(1), Reason::kNotPermitted, begin));
  CHECK_FALSE(log.refused(device(1), Reason::kBusy, begin + seconds(1)));
  const auto line = log.refused(device(1), Reason::kBanned, begin + RefusalLog::kAnotherReason);
  REQUIRE(line);
  CHECK(line->more == 1);
}

TEST_CASE("fault E17: whoever invents device ids does not fill the log") {
  RefusalLog log;
  const proto::TimePoint begin{seconds(1000)};
  std::size_t lines = 0;
  for (unsigned n = 0; n < 1000; ++n) lines += log.refused(device(n), Reason::kNotPermitted, begin) ? 1 : 0;
  CHECK(lines == RefusalLog::kMaxPeers);
  const auto line = log.refused(device(1000), Reason::kNotPermitted, begin + RefusalLog::kInterval);
  REQUIRE(line);
  CHECK(line->others == 1000 - RefusalLog::kMaxPeers);
}
