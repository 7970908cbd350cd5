// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/paced_opens.h"

#include <vector>

#include <catch2/catch.hpp>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

std::set<OpenNumber> numbers(OpenNumber first, std::size_t count) {
  std::set<OpenNumber> all;
  for (std::size_t i = 0; i < count; ++i) all.insert(first + i);
  return all;
}

}  // namespace

TEST_CASE("opens that go on take one step each, a bounded number in a turn, in order") {
  World world;
  std::vector<OpenNumber> done;
  PacedOpens paced(world.loop, [](OpenNumber, OpenResult) { FAIL("none has an answer"); });
  const auto step = [&](OpenNumber number) { done.push_back(number); };
  paced.go_on(numbers(1, PacedOpens::kPerTurn), step);
  CHECK(done.size() == PacedOpens::kPerTurn);  // at once
  paced.go_on(numbers(100, 3 * PacedOpens::kPerTurn), step);
  CHECK(done.size() == 2 * PacedOpens::kPerTurn);
  paced.go_on(numbers(1'000, 2), step);  // behind those that wait
  CHECK(done.size() == 2 * PacedOpens::kPerTurn);
  REQUIRE(world.run_until([&] { return done.size() == 4 * PacedOpens::kPerTurn + 2; }));
  CHECK(std::is_sorted(done.begin(), done.end()));
}

TEST_CASE("a step may let others go on") {
  World world;
  std::vector<OpenNumber> done;
  PacedOpens paced(world.loop, [](OpenNumber, OpenResult) {});
  paced.go_on(numbers(1, 2 * PacedOpens::kPerTurn), [&](OpenNumber number) {
    if (number > PacedOpens::kPerTurn) paced.go_on({number + 1'000}, [&](OpenNumber late) { done.push_back(late); });
    done.push_back(number);
  });
  REQUIRE(world.run_until([&] { return done.size() == 3 * PacedOpens::kPerTurn; }));
}

TEST_CASE("an answer comes in a later turn, once") {
  World world;
  std::vector<OpenNumber> answered;
  PacedOpens paced(world.loop, [&](OpenNumber number, const OpenResult& result) {
    CHECK(std::get<OpenError>(result).reason == proto::Reason::kTimedOut);
    answered.push_back(number);
  });
  for (const OpenNumber number : numbers(1, 2 * PacedOpens::kPerTurn)) {
    paced.complete_later(number, OpenError{proto::Reason::kTimedOut, {}});
  }
  CHECK(answered.empty());
  REQUIRE(world.run_until([&] { return answered.size() == 2 * PacedOpens::kPerTurn; }));
  CHECK(std::is_sorted(answered.begin(), answered.end()));
}
