// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/end_sequence.h"

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

using Names = std::vector<std::string>;

/// Steps that are through when a test says so.
struct Steps {
  Loop loop;
  Names begun;
  std::function<void()> through;
  int over = 0;
  EndSequence end{loop, {step("one"), step("two"), step("three")}, [this] {
                    ++over;
                    loop.stop();
                  }};

  EndSequence::Step step(const char* name) {
    return {name, [this, name](std::function<void()> done) {
              begun.emplace_back(name);
              through = std::move(done);
            }};
  }
  void go_on() { std::exchange(through, {})(); }
};

}  // namespace

TEST_CASE("EndSequence: a step begins when the one before is through") {
  Steps steps;
  CHECK_FALSE(steps.end.begun());
  steps.end.begin(std::chrono::hours(1));
  CHECK(steps.end.begun());
  CHECK(steps.begun == Names{"one"});
  steps.go_on();
  CHECK(steps.begun == Names{"one", "two"});
  steps.go_on();
  CHECK(steps.over == 0);
  steps.go_on();
  CHECK(steps.begun == Names{"one", "two", "three"});
  CHECK(steps.over == 1);
}

TEST_CASE("EndSequence: steps that are through at once") {
  Loop loop;
  int over = 0;
  const auto at_once = [](const std::function<void()>& through) { through(); };
  EndSequence end(loop, {{"one", at_once}, {"two", at_once}}, [&] { ++over; });
  end.begin(std::chrono::hours(1));
  CHECK(over == 1);
  EndSequence none(loop, {}, [&] { ++over; });
  none.begin(std::chrono::hours(1));
  CHECK(over == 2);
}

TEST_CASE("fault D2: the end comes in time, whatever a step waits for, and once") {
  Steps steps;
  steps.end.begin(proto::Duration(1));
  steps.go_on();
  steps.loop.run();
  CHECK(steps.over == 1);
  steps.go_on();  // later than its time
  CHECK(steps.begun == Names{"one", "two"});
  CHECK(steps.over == 1);
}
