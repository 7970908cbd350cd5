// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/reachability.h"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;
using std::chrono::milliseconds;

namespace {

proto::TimePoint at(long ms) {
  return proto::TimePoint{milliseconds(ms)};
}

const char* name_of(ReachAction action) {
  switch (action) {
    case ReachAction::kNone:
      return "none";
    case ReachAction::kWakeListens:
      return "listens";
    case ReachAction::kWakeAll:
      return "all";
    case ReachAction::kTest:
      return "test";
    case ReachAction::kRenew:
      return "renew";
  }
  return "?";
}

/// What happens at a time; then everything that was due before, or at it, was done.
struct Event {
  long at;
  enum What { kNode, kConnected, kDisconnected, kSign, kPassed } what;
};

/// Plays events from 0 to `until`, and tells what was done when: "500 all, 1000 test".
struct Played {
  std::string done;
  Reachability machine{at(0)};

  Played(const std::vector<Event>& events, long until) {
    for (const Event& event : events) {
      run(event.at);
      apply(event);
      take(event.at);
    }
    run(until);
  }
  void apply(const Event& event) {
    const auto now = at(event.at);
    switch (event.what) {
      case Event::kNode:
        return machine.on_node_made(now);
      case Event::kConnected:
        return machine.on_connected(now);
      case Event::kDisconnected:
        return machine.on_disconnected(now);
      case Event::kSign:
        return machine.on_sign(now);
      case Event::kPassed:
        return machine.on_test_passed(now);
    }
  }
  void take(long now) {
    for (;;) {
      const ReachAction action = machine.next(at(now));
      if (action == ReachAction::kNone) return;
      if (!done.empty()) done += ", ";
      done += std::to_string(now) + " " + name_of(action);
    }
  }
  void run(long until) {
    while (machine.next_deadline() <= at(until)) take(machine.next_deadline().time_since_epoch().count());
  }
};

}  // namespace

TEST_CASE("fault E00: what is kept is woken, and tested, soon after each sign") {
  struct Row {
    const char* what;
    std::vector<Event> events;
    long until;
    const char* done;
    Reach state;
  };
  const std::vector<Row> rows = {
      {"a start: all is asked for when the first node answers, and tested a second later",
       {{0, Event::kNode}, {600, Event::kConnected}, {1700, Event::kPassed}},
       21'000,
       // 0 to 500: those that are known are greeted.
       "0 all, 500 all, 900 all, 1300 all, 1600 test, 2600 all, 5600 all, 15600 all",
       Reach::kYes},
      {"quiet: the listens every 20 s, the test every 30 s",
       {{0, Event::kConnected}, {1100, Event::kPassed}, {31'300, Event::kPassed}},
       62'000,
       "0 all, 500 all, 1000 test, 2000 all, 5000 all, 15000 all, 31100 test, 35000 listens, 55000 listens, 61300 test",
       Reach::kYes},
      {"a link that comes back: at once, and tested a second later",
       {{0, Event::kConnected}, {1100, Event::kPassed}, {20'000, Event::kSign}, {21'200, Event::kPassed}},
       24'000,
       "0 all, 500 all, 1000 test, 2000 all, 5000 all, 15000 all, 20000 all, 20500 all, 21000 test, 22000 all",
       Reach::kYes},
      {"deaf: two tests that fail, and a new node within 10 s of the sign",
       {{0, Event::kConnected}, {1100, Event::kPassed}, {20'000, Event::kSign}},
       30'000,
       "0 all, 500 all, 1000 test, 2000 all, 5000 all, 15000 all, 20000 all, 20500 all, 21000 test, 22000 all, "
       "23500 all, 23500 test, 25000 all, 26000 renew",
       Reach::kNo},
      {"deaf without a sign: noticed by the next test",
       {{0, Event::kConnected}, {1100, Event::kPassed}},
       40'000,
       "0 all, 500 all, 1000 test, 2000 all, 5000 all, 15000 all, 31100 test, 33600 all, 33600 test, 35000 listens, "
       "36100 renew",
       Reach::kNo},
      {"nobody answers: no test, those that are known are asked every 20 s, a new node once",
       {{0, Event::kConnected}, {1100, Event::kPassed}, {16'000, Event::kDisconnected}},
       200'000,
       "0 all, 500 all, 1000 test, 2000 all, 5000 all, 15000 all, 35000 all, 55000 all, 75000 all, 95000 all, 115000 "
       "all, "
       "135000 all, 136000 renew",
       Reach::kNo},
      {"alone from the beginning: never a new node", {{0, Event::kNode}}, 700'000, nullptr, Reach::kUnknown},
      {"an answer that comes after its time counts",
       {{0, Event::kConnected}, {4'500, Event::kPassed}},
       14'000,
       "0 all, 500 all, 1000 test, 2000 all, 3500 all, 3500 test, 5000 all",
       Reach::kYes},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    const Played played(row.events, row.until);
    if (row.done != nullptr) CHECK(played.done == row.done);
    CHECK(played.done.find("renew") == (row.done == nullptr ? std::string::npos : std::string(row.done).find("renew")));
    CHECK(played.machine.state() == row.state);
  }
}

TEST_CASE("fault E00: who goes deaf without any sign is heard again within 45 s") {
  constexpr long kMeasure = 45'000;
  // From kRenew to a listen that is in force: 0.8 s for the node, and one that does not answer costs its search a
  // second, or two when it is named late.
  constexpr long kNewNode = 3'000;
  long longest = 0;
  for (long deaf_at = 20'000; deaf_at < 200'000; deaf_at += 500) {
    Reachability machine(at(0));
    machine.on_connected(at(0));
    long put_at = -1;
    for (long now = 0; now < 400'000; now += 100) {
      // What a test has put comes back 100 ms later, to who hears.
      if (put_at >= 0 && now == put_at + 100 && now < deaf_at) machine.on_test_passed(at(now));
      ReachAction action{};
      while ((action = machine.next(at(now))) != ReachAction::kNone && action != ReachAction::kRenew) {
        if (action == ReachAction::kTest) put_at = now;
      }
      if (action != ReachAction::kRenew) continue;
      REQUIRE(now >= deaf_at);
      longest = std::max(longest, now - deaf_at);
      break;
    }
    REQUIRE(machine.renewals() == 1);
  }
  CHECK(longest + kNewNode <= kMeasure);
}

TEST_CASE("fault E00: who goes deaf in a flap of the link is heard again within 10 s, whenever the test before was") {
  constexpr long kMeasure = 10'000;
  constexpr long kNewNode = 3'000;  // as above
  constexpr long kFirstTest = 1'000;
  long longest = 0;
  for (const long flap : {100, 200, 500, 1'000}) {
    // From a test that has just begun, or passed, to one that is due.
    for (long down = kFirstTest; down < kFirstTest + 31'000; down += 50) {
      INFO("down at " << down << " for " << flap << " ms");
      Reachability machine(at(0));
      machine.on_connected(at(0));
      long put_at = -1;
      long renewed_at = 0;
      for (long now = 0; renewed_at == 0 && now < down + 60'000; now += 50) {
        if (put_at >= 0 && now == put_at + 100 && now < down) machine.on_test_passed(at(now));
        if (now == down || now == down + flap) machine.on_sign(at(now));
        for (ReachAction action{}; (action = machine.next(at(now))) != ReachAction::kNone;) {
          if (action == ReachAction::kTest) put_at = now;
          if (action == ReachAction::kRenew) renewed_at = now;
        }
      }
      REQUIRE(renewed_at >= down);
      longest = std::max(longest, renewed_at - (down + flap));
    }
  }
  CHECK(longest + kNewNode <= kMeasure);
}

TEST_CASE("fault E00: a new node that does not help is followed by others after 1, 2, 5 and 10 minutes") {
  Reachability machine(at(0));
  std::vector<long> renewed;
  machine.on_connected(at(0));
  for (long now = 0; now < 3'600'000; now += 100) {
    for (;;) {
      const ReachAction action = machine.next(at(now));
      if (action == ReachAction::kNone) break;
      if (action != ReachAction::kRenew) continue;
      renewed.push_back(now / 1'000);
      machine.on_node_made(at(now + 800));
      machine.on_connected(at(now + 900));
    }
  }
  REQUIRE(renewed.size() >= 7);
  CHECK(renewed[0] <= 10);
  const std::vector<long> pauses{60, 120, 300, 600, 600, 600};
  for (std::size_t i = 0; i < pauses.size(); ++i) {
    CHECK(renewed[i + 1] - renewed[i] >= pauses[i]);
    CHECK(renewed[i + 1] - renewed[i] <= pauses[i] + 30);
  }
  CHECK(machine.renewals() == renewed.size());
  // One that helped: the next fault is cured at once.
  machine.on_connected(at(3'600'000));
  machine.on_test_passed(at(3'600'000));
  machine.on_sign(at(4'300'000));
  long cured = 0;
  for (long now = 4'300'000; now < 4'320'000 && cured == 0; now += 100) {
    for (ReachAction action{}; (action = machine.next(at(now))) != ReachAction::kNone;) {
      if (action == ReachAction::kRenew) cured = now;
    }
  }
  CHECK(cured > 0);
  CHECK(cured <= 4'310'000);
}

TEST_CASE("fault E00: however many signs come, tests keep their distance") {
  Reachability machine(at(0));
  machine.on_connected(at(0));
  std::vector<long> tests;
  std::vector<long> wakes;
  for (long now = 0; now < 120'000; now += 50) {
    if (now % 100 == 0) machine.on_sign(at(now));
    for (ReachAction action{}; (action = machine.next(at(now))) != ReachAction::kNone;) {
      if (action == ReachAction::kTest) tests.push_back(now);
      if (action == ReachAction::kWakeAll) wakes.push_back(now);
    }
  }
  CHECK(tests.size() >= 30);  // and are not put off for ever
  for (std::size_t i = 1; i < tests.size(); ++i)
    CHECK(proto::Duration(tests[i] - tests[i - 1]) >= Reachability::kTestGap);
  CHECK(wakes.size() <= 2 * 300 + 60);  // two or three a second, and one for each test that failed
}

TEST_CASE("fault E00: the first datagram after a silence is a sign") {
  Reachability machine(at(0));
  machine.on_connected(at(0));
  const auto take_all = [&](long now) {
    std::string done;
    for (ReachAction action{}; (action = machine.next(at(now))) != ReachAction::kNone;) done += name_of(action);
    return done;
  };
  machine.on_received(10, at(1'000));
  take_all(16'000);
  machine.on_test_passed(at(20'500));
  machine.on_received(12, at(21'000));
  CHECK_FALSE(machine.silent());
  take_all(31'000);
  machine.on_received(12, at(45'000));
  CHECK_FALSE(machine.silent());
  machine.on_received(12, at(46'000));
  CHECK(machine.silent());
  take_all(46'000);
  CHECK(take_all(47'000).empty());
  machine.on_received(13, at(48'000));
  CHECK_FALSE(machine.silent());
  CHECK(take_all(48'000) == "all");
}
