// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/brake.h"

#include <functional>
#include <map>

#include <catch2/catch.hpp>

using namespace connd::proto;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::uint64_t kTotal = 64 * kMiB;
const TimePoint kStart{Duration{50'000}};
using Ends = std::vector<ChannelHandle>;

/// Calls expire() as often as it wants to be called, up to `until`: who has to end.
Ends run(Brake& brake, TimePoint until) {
  Ends ends;
  while (brake.deadline() <= until) {
    for (const ChannelHandle channel : brake.expire(brake.deadline())) {
      ends.push_back(channel);
      brake.forget(channel);
    }
  }
  return ends;
}

}  // namespace

TEST_CASE("brake: what apps take is no matter") {
  Brake brake(kTotal);
  for (int i = 0; i < 100; ++i) {
    brake.held(1, kHeldMark - 1, kStart);
    brake.taken(1, kHeldMark - 1, kStart);
  }
  CHECK_FALSE(brake.stopped());
  CHECK(brake.deadline() == kNever);
  CHECK(brake.total() == 0);
}

TEST_CASE("fault J1: brake: a stop that eased costs nothing, and the next may follow at once") {
  Brake brake(kTotal);
  for (int i = 0; i < 1'000; ++i) {
    brake.held(1, kHeldMark, kStart);
    CHECK(brake.stopped());
    CHECK(brake.deadline() == kStart + kSipInterval);
    brake.taken(1, kStopTake - 1, kStart);  // not at the first byte
    CHECK(brake.deadline() != kNever);
    brake.taken(1, 1, kStart);
    CHECK(brake.deadline() == kNever);
    CHECK_FALSE(brake.stopped());
    brake.taken(1, kHeldMark - kStopTake, kStart);
  }
}

TEST_CASE("D2: brake: sips while an app pauses; one whole stop, then the channel stalls") {
  Brake brake(kTotal);
  brake.held(1, kHeldMark - 1, kStart);
  CHECK_FALSE(brake.stopped());
  brake.held(1, 1, kStart);
  brake.held(2, 10, kStart);  // of the same read
  CHECK(brake.stopped());
  CHECK(brake.expire(kStart + kSipInterval - 1ms).empty());
  CHECK(brake.stopped());
  CHECK(brake.expire(kStart + kSipInterval).empty());
  CHECK_FALSE(brake.stopped());
  brake.held(1, kSipBytes - 10, kStart + kSipInterval);
  CHECK(brake.stopped());
  CHECK(run(brake, kStart + kStopTime - 1ms).empty());
  CHECK(run(brake, kStart + kStopTime) == Ends{1});
  CHECK_FALSE(brake.stopped());
  CHECK(brake.total() == 10);
}

TEST_CASE("brake: who has taken enough in a stop has a whole one again") {
  Brake brake(kTotal);
  brake.held(1, 2 * kHeldMark, kStart);
  const TimePoint late = kStart + kStopTime - 1s;
  CHECK(run(brake, late).empty());
  SECTION("enough") {
    brake.taken(1, kStopTake, late);
    CHECK(run(brake, late + kStopTime - 1ms).empty());
    CHECK(run(brake, late + kStopTime + kSipInterval) == Ends{1});
  }
  SECTION("too little") {
    brake.taken(1, kStopTake - 1, late);
    CHECK(run(brake, kStart + kStopTime) == Ends{1});
  }
}

TEST_CASE("brake: time in which nobody asked does not count") {
  Brake brake(kTotal);
  brake.held(1, kHeldMark, kStart);
  CHECK(brake.expire(kStart + 1h).empty());
  CHECK(run(brake, kStart + 1h + kStopTime - kSipInterval - 1ms).empty());
  CHECK(run(brake, kStart + 1h + kStopTime) == Ends{1});
}

TEST_CASE("brake: who has had a whole stop without reading gets no second one") {
  Brake brake(kTotal);
  brake.held(1, kHeldMark, kStart);
  brake.held(2, kHeldMark / 2, kStart);
  brake.held(3, kHeldMark / 2, kStart);
  CHECK(run(brake, kStart + kStopTime) == Ends{1});
  CHECK(brake.deadline() == kNever);
  const TimePoint later = kStart + 1h;
  brake.taken(3, kStopTake, later);  // it reads
  brake.held(2, kHeldMark, later);
  brake.held(3, kHeldMark, later);
  CHECK(run(brake, later + kSipInterval) == Ends{2});
  CHECK(run(brake, later + kStopTime - 1ms).empty());
  CHECK(run(brake, later + kStopTime) == Ends{3});
}

TEST_CASE("brake: a stop that ended before its time counts for nobody") {
  Brake brake(kTotal);
  brake.held(1, kHeldMark, kStart);
  brake.held(2, kHeldMark / 2, kStart);
  CHECK(run(brake, kStart + kStopTime - 1s).empty());
  brake.taken(1, kHeldMark, kStart + kStopTime - 1s);
  CHECK(brake.deadline() == kNever);
  const TimePoint later = kStart + 1h;
  brake.held(2, kHeldMark / 2, later);
  CHECK(run(brake, later + kStopTime - 1ms).empty());
  CHECK(run(brake, later + kStopTime) == Ends{2});
}

TEST_CASE("brake: all channels together are bounded too: of those that do not read the ones that hold the most go") {
  Brake brake(16 * kMiB);
  for (ChannelHandle channel = 1; channel <= 9; ++channel) brake.held(channel, kMiB, kStart);
  brake.held(10, 2 * kMiB, kStart);
  CHECK(brake.stopped());
  CHECK(run(brake, kStart + kStopTime - 1ms).empty());
  brake.taken(9, kMiB, kStart + kStopTime - 1ms);
  // 10 MiB are left, and more than the half is for who does not read: down to a quarter of the bound.
  CHECK(run(brake, kStart + kStopTime) == Ends{10, 8, 7, 6, 5});
  CHECK(brake.total() == 4 * kMiB);
  CHECK(brake.deadline() == kNever);
}

TEST_CASE("brake: those that hold little are not charged with what one holds that reads slowly") {
  Brake brake(16 * kMiB);
  brake.held(1, 12 * kMiB, kStart);
  for (ChannelHandle channel = 2; channel < 50; ++channel) brake.held(channel, 10, kStart);
  for (TimePoint now = kStart; now < kStart + 5 * kStopTime; now += 1s) {
    brake.taken(1, kMiB, now);
    brake.held(1, kMiB, now);
    CHECK(run(brake, now).empty());
  }
}

TEST_CASE("brake: a channel that goes ends the stop that it has caused") {
  Brake brake(kTotal);
  brake.held(1, kHeldMark, kStart);
  brake.forget(1);
  CHECK_FALSE(brake.stopped());
  CHECK(brake.total() == 0);
  CHECK(brake.deadline() == kNever);
}

TEST_CASE("brake: what a channel holds that has ended on the wire counts for all of them, and no more for itself") {
  Brake brake(kTotal);
  brake.held(1, kHeldMark, kStart);
  CHECK(brake.stopped());
  brake.ended(1);
  CHECK_FALSE(brake.stopped());
  CHECK(brake.deadline() == kNever);
  CHECK(brake.total() == kHeldMark);
  SECTION("its app may take its time") {
    CHECK(run(brake, kStart + 1h).empty());
  }
  SECTION("it goes when all together hold too much") {
    for (ChannelHandle channel = 2; channel <= 4; ++channel) {
      brake.held(channel, kHeldMark, kStart);
      brake.ended(channel);
    }
    CHECK(run(brake, kStart + kStopTime) == Ends{4, 3});
  }
  brake.forget(1);
  brake.ended(1);  // nothing is held for it
}

// ---- the policy, in virtual time ----

namespace {

/// What an app has taken at most, `seconds` after it began.
using Pace = std::function<double(double seconds)>;
constexpr double kMega = 1e6;

Pace steady(double bytes_a_second) {
  return [=](double s) { return bytes_a_second * s; };
}
/// Nothing for the first part of each period, and then that much a second.
Pace pausing(double pause, double period, double bytes_a_second) {
  return [=](double s) {
    const double whole = std::floor(s / period);
    return bytes_a_second * (whole * (period - pause) + std::max(0.0, s - whole * period - pause));
  };
}

struct Outcome {
  std::map<ChannelHandle, double> ended;  ///< when, in seconds
  std::map<ChannelHandle, std::uint64_t> got;
  std::uint64_t most = 0;  ///< held at once
  double slowest = 0;      ///< seconds in which what two kernels hold was read, at the worst
};

/// A peer that floods all channels by turns, without end, and apps of these paces (channels 1, 2, …).
Outcome flood(const std::vector<Pace>& paces, double seconds, std::uint64_t max_total = kTotal) {
  constexpr std::size_t kMessage = 65'535;
  constexpr std::size_t kRead = 4 * kMessage;
  constexpr std::size_t kKernels = 8 * kMiB;
  constexpr auto kStep = 10ms;
  constexpr std::size_t kStepBytes = 2 * kMiB;  // 200 MB/s
  Brake brake(max_total);
  Outcome out;
  std::map<ChannelHandle, std::uint64_t> held;
  std::vector<std::pair<double, std::uint64_t>> progress;  // time, bytes of the stream read
  std::uint64_t read = 0;
  std::size_t behind = 0;
  ChannelHandle turn = 0;
  for (TimePoint now = kStart; now < kStart + std::chrono::duration_cast<Duration>(seconds * 1s); now += kStep) {
    const double time = std::chrono::duration<double>(now - kStart).count();
    const auto take = [&](ChannelHandle channel) {
      const auto may = static_cast<std::uint64_t>(paces[channel - 1](time));
      const std::uint64_t n = std::min(held[channel], may - std::min(may, out.got[channel]));
      if (n == 0) return;
      held[channel] -= n;
      out.got[channel] += n;
      brake.taken(channel, n, now);
    };
    for (ChannelHandle channel = 1; channel <= paces.size(); ++channel) take(channel);
    for (const ChannelHandle channel : brake.expire(now)) {
      out.ended[channel] = time;
      held[channel] = 0;
      brake.forget(channel);
    }
    for (std::size_t step = 0; step < kStepBytes && !brake.stopped(); step += kRead) {
      for (std::size_t n = 0; n < kRead; n += kMessage) {
        read += kMessage;
        turn = turn % paces.size() + 1;
        if (out.ended.count(turn) > 0) continue;
        brake.held(turn, kMessage, now);
        held[turn] += kMessage;
        take(turn);
      }
    }
    out.most = std::max(out.most, brake.total());
    progress.emplace_back(time, read);
    for (; progress[behind].second + kKernels <= read; ++behind) {
      out.slowest = std::max(out.slowest, time - progress[behind].first);
    }
  }
  // What has not been read by the end had to wait until then.
  out.slowest = std::max(out.slowest, seconds - progress[behind].first);
  return out;
}

// Beside the bound: one read.
constexpr std::uint64_t kMost = kTotal + 4 * 65'535;
// Jami's devices wait so long for the answer to a beacon, in seconds.
constexpr double kPatience = 3;

}  // namespace

TEST_CASE("fault J1: brake: apps of every pace, alone on their connection, a flood for each") {
  struct Row {
    const char* what;
    Pace pace;
    bool ends;
    double got;    ///< bytes in 60 s, at least
    bool beacons;  ///< are they answered in time?
    std::uint64_t held;
  };
  const double kAll = 0.95;
  const std::vector<Row> rows = {
      {"100 MB/s", steady(100 * kMega), false, 60 * 100 * kMega * kAll, true, 9 * kMiB},
      {"50 MB/s", steady(50 * kMega), false, 60 * 50 * kMega * kAll, true, 9 * kMiB},
      {"20 MB/s", steady(20 * kMega), false, 60 * 20 * kMega * kAll, true, 9 * kMiB},
      {"10 MB/s", steady(10 * kMega), false, 60 * 10 * kMega * kAll, true, 9 * kMiB},
      {"5 MB/s", steady(5 * kMega), false, 60 * 5 * kMega * kAll, true, 10 * kMiB},
      {"1 MB/s", steady(1 * kMega), false, 60 * kMega * kAll, false, kMost},
      {"100 kB/s", steady(0.1 * kMega), false, 6 * kMega * kAll, false, kMost},
      {"60 kB/s", steady(0.06 * kMega), false, 3.6 * kMega * kAll, false, kMost},
      {"40 kB/s", steady(0.04 * kMega), true, 0, true, 50 * kMiB},
      {"a byte a second", steady(1), true, 0, true, 50 * kMiB},
      {"nothing", steady(0), true, 0, true, 50 * kMiB},
      {"pauses 1 s in 3", pausing(1, 3, 30 * kMega), false, 40 * 30 * kMega * kAll, true, 14 * kMiB},
      {"pauses 2 s in 3, slow", pausing(2, 3, 5 * kMega), false, 20 * 5 * kMega * kAll, false, kMost},
      {"pauses 5 s in 10", pausing(5, 10, 30 * kMega), false, 30 * 30 * kMega * kAll, true, 30 * kMiB},
      {"pauses 9 s in 20", pausing(9, 20, 30 * kMega), false, 33 * 30 * kMega * kAll, true, 46 * kMiB},
      {"pauses 11 s in 20", pausing(11, 20, 30 * kMega), true, 0, true, 50 * kMiB},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Outcome out = flood({row.pace}, 60);
    CHECK(out.ended.count(1) == (row.ends ? 1 : 0));
    if (row.ends) CHECK(out.ended[1] == Approx(10).margin(0.4));
    CHECK(static_cast<double>(out.got[1]) >= row.got);
    CHECK((out.slowest < kPatience) == row.beacons);
    CHECK(out.most <= row.held);
  }
}

TEST_CASE("fault J1: brake: one app that is stuck, one slow, one fast: the stuck one goes after one stop") {
  Outcome out = flood({steady(0), steady(kMega), steady(100 * kMega)}, 40);
  CHECK(out.ended.size() == 1);
  CHECK(out.ended[1] == Approx(10).margin(0.4));
  CHECK(out.most <= kMost);
  // While the stuck one is waited for, and when the slow one's turn is, the fast one has what is read beside.
  CHECK(static_cast<double>(out.got[2]) >= 40 * kMega * 0.9);
  CHECK(static_cast<double>(out.got[3]) >= 40 * kMega * 0.9);
}

TEST_CASE("fault J1: brake: many slow apps at once, and many that are stuck") {
  std::vector<Pace> slow(50, steady(kMega));
  Outcome out = flood(slow, 40);
  CHECK(out.ended.empty());
  CHECK(out.most <= kMost);
  CHECK(out.slowest < kPatience);
  for (ChannelHandle channel = 1; channel <= slow.size(); ++channel) {
    CHECK(static_cast<double>(out.got[channel]) >= 40 * kMega * 0.8);
  }

  out = flood(std::vector<Pace>(1'000, steady(0)), 60);
  CHECK(out.most <= kMost);
  CHECK(out.ended.size() == 1'000);
  // Some had their first byte when others had waited for long: it takes several stops.
  double last = 0;
  for (const auto& [channel, time] : out.ended) last = std::max(last, time);
  CHECK(last < 58);
}
