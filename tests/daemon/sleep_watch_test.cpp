// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/sleep_watch.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("fault E00: a tick that comes late tells that the machine stood still, and for how long") {
  SleepGauge gauge(seconds(1'000), SleepWatch::kInterval, SleepWatch::kGap);
  struct Row {
    const char* what;
    milliseconds after;  ///< the tick before
    seconds told;
  };
  const Row rows[] = {
      {"in time", milliseconds(20'000), seconds(0)},
      {"a busy machine", milliseconds(22'999), seconds(0)},
      {"early, for the one before was late", milliseconds(17'001), seconds(0)},
      {"asleep for three seconds", milliseconds(23'000), seconds(3)},
      {"the tick behind it has its own time", milliseconds(20'000), seconds(0)},
      {"a night", milliseconds(8 * 3'600'000 + 20'500), seconds(8 * 3'600)},
      {"in time again", milliseconds(20'000), seconds(0)},
      // Its timer goes on while it is suspended, and was due in the middle: late by what was left.
      {"woken by day, due in the sleep", milliseconds(600'000), seconds(580)},
  };
  std::chrono::nanoseconds now = seconds(1'000);
  for (const Row& row : rows) {
    INFO(row.what);
    now += row.after;
    CHECK(gauge.on_tick(now) == row.told);
  }
}

TEST_CASE("fault E00: a watch that goes before its first tick says nothing") {
  Loop loop;
  bool woken = false;
  {
    const SleepWatch watch(loop, [&](seconds) { woken = true; });
  }
  Timer end(loop, [&] { loop.stop(); });
  end.arm_in(connd::proto::Duration(0));
  loop.run();
  CHECK_FALSE(woken);
}
