// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/connection_questions.h"

#include <string>
#include <tuple>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

struct Fixture {
  World world;
  std::vector<std::tuple<ClientNumber, std::string, ipc::Json>> told;
  bool reaches = true;
  ConnectionQuestions questions{world.loop, [this](ClientNumber client, std::string_view method, ipc::Json params) {
                                  if (reaches) told.emplace_back(client, method, std::move(params));
                                  return reaches;
                                }};
  bool ask(std::uint64_t number) {
    return questions.ask_connection({number, {}, std::nullopt, world.loop.now() + std::chrono::seconds(10)});
  }
};

}  // namespace

TEST_CASE("nobody is asked without an owner of the policy, nor one that is about to go") {
  Fixture f;
  CHECK_FALSE(f.ask(1));
  CHECK(f.questions.register_owner(7));
  CHECK(f.questions.register_owner(7));
  CHECK_FALSE(f.questions.register_owner(8));
  f.reaches = false;
  CHECK_FALSE(f.ask(2));
  CHECK(f.questions.list().requests.empty());
  CHECK(f.questions.list().registered);
}

TEST_CASE("a question is answered once, by the owner or an administrator, or is over") {
  Fixture f;
  REQUIRE(f.questions.register_owner(7));
  for (std::uint64_t number = 1; number <= 4; ++number) REQUIRE(f.ask(number));
  CHECK(std::get<1>(f.told[0]) == "connection.request");
  CHECK_FALSE(f.questions.answer(8, false, 1, true));  // not its to answer
  CHECK(f.questions.list().requests.size() == 4);
  // Without a manager nothing comes of it, but it is over.
  CHECK_FALSE(f.questions.answer(7, false, 1, true));
  CHECK(f.told.size() == 4);
  CHECK_FALSE(f.questions.answer(8, true, 2, true));
  REQUIRE(f.told.size() == 5);
  CHECK(std::get<0>(f.told[4]) == 7);
  CHECK(std::get<2>(f.told[4])["reason"] == "cancelled");
  f.questions.connection_question_over(3);
  f.questions.connection_question_over(3);
  REQUIRE(f.told.size() == 6);
  CHECK(std::get<2>(f.told[5])["reason"] == "timed-out");
  CHECK(f.questions.list().requests.size() == 1);
  f.questions.leave(8);
  CHECK(f.questions.list().registered);
  f.questions.leave(7);
  CHECK_FALSE(f.questions.list().registered);
  CHECK(f.questions.list().requests.empty());
  CHECK(f.questions.register_owner(8));
}
