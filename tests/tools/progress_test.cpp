// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/progress.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "tools/rate_meter.h"

using namespace connd::tools;
using namespace std::chrono_literals;

namespace {

std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

TEST_CASE("progress: a line has the width of the terminal, whatever that is") {
  const ProgressItem item{"a file with a rather long name \xC3\xA9\xC3\xA9.tar", 45'000'000, 100'000'000, 11e6};
  for (std::size_t columns = 13; columns < 200; ++columns) {
    INFO(columns);
    const std::string line = progress_line(item, columns);
    CHECK(columns_of(line) == columns);
    CHECK(line.find(" 45%") != std::string::npos);
  }
  const std::string wide = progress_line(item, 120);
  for (const char* part : {"45.0 MB of 100.0 MB", "11.0 MB/s", "0:05 left", "[###", "---]"}) {
    INFO(wide);
    CHECK(wide.find(part) != std::string::npos);
  }
}

TEST_CASE("progress: a name that does not fit is cut, and says so") {
  const std::string line =
      progress_line({"\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", 1, 2, 0}, 13);
  CHECK(line == "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9>  50%");
}

TEST_CASE("progress: time left") {
  CHECK(time_left({"", 0, 100, 0}) == "-:--");
  CHECK(time_left({"", 0, 100, 1e-9}) == "-:--");
  CHECK(time_left({"", 0, 100, 10}) == "0:10");
  CHECK(time_left({"", 0, 36'610, 10}) == "1:01:01");
  CHECK(time_left({"", 100, 100, 0}) == "0:00");
  CHECK(time_left({"", 200, 100, 1}) == "0:00");  // it grew
  CHECK(progress_line({"empty", 0, 0, 0}, 40).find("100%") != std::string::npos);
}

TEST_CASE("fault E10: only a terminal whose cursor can be moved gets bars") {
  for (const char* term : {"xterm-256color", "linux", "vt100", "screen"}) CHECK(moves_cursor(term));
  for (const char* term : {"dumb", "unknown", ""}) CHECK_FALSE(moves_cursor(term));
  CHECK_FALSE(moves_cursor(nullptr));
}

TEST_CASE("rate: over the last seconds, not over all") {
  RateMeter meter;
  const RateMeter::Clock::time_point start{1000s};
  CHECK(meter.bytes_per_second(start) == 0);
  for (int n = 0; n < 100; ++n) meter.add(1000, start + n * 100ms);
  CHECK(meter.bytes_per_second(start + 10s) == Approx(10'000).epsilon(0.1));
  CHECK(meter.bytes_per_second(start + 60s) == 0);
  RateMeter young;
  young.add(500, start);
  CHECK(young.bytes_per_second(start + 100ms) == Approx(5000));
}
