// SPDX-License-Identifier: GPL-3.0-or-later
// Opens of the local side, whoever they are for.
#include "daemon/local_api/client_opens.h"

#include <catch2/catch.hpp>

#include "tests/daemon/api_pair.h"
#include "tests/daemon/fake_taker.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Reason;

namespace {

OpenRequest to(const ApiNode& node, const std::string& uri) {
  OpenRequest request;
  request.peer = node.id;
  request.uri = uri;
  return request;
}

}  // namespace

TEST_CASE("an opener that is no session gets the channel, or why there is none") {
  Pair pair;
  pair.receiver.listen("a");
  IpcServer& server = *pair.alice.server;
  FakeTaker opener(server.apps());
  std::vector<ClientOpens::Answer> answers;
  const auto keep = [&](ClientOpens::Answer answer) { answers.push_back(std::move(answer)); };
  REQUIRE(server.opens().start(opener, nullptr, to(pair.bob, "a"), keep).ok());
  REQUIRE(pair.run_until([&] { return answers.size() == 1; }));
  REQUIRE(answers[0].ok());
  CHECK(answers[0]->fd);
  CHECK(answers[0]->result.device == pair.bob.id.hex());
  CHECK(server.apps().owners().count_of(opener.number()) == 1);

  REQUIRE(server.opens().start(opener, nullptr, to(pair.bob, "nobody"), keep).ok());
  REQUIRE(pair.run_until([&] { return answers.size() == 2; }));
  CHECK(answers[1].error().reason == Reason::kNoListener);
  CHECK(answers[1].error().peer == pair.bob.id.hex());
}

TEST_CASE("an open is given up by its opener alone, and all are when it goes") {
  Pair pair;
  pair.receiver.listen_ask("ask");
  IpcServer& server = *pair.alice.server;
  FakeTaker opener(server.apps());
  FakeTaker other(server.apps());
  std::vector<Reason> reasons;
  const auto keep = [&](const ClientOpens::Answer& answer) {
    reasons.push_back(answer.ok() ? Reason::kClosed : answer.error().reason);
  };
  for (int id = 0; id < 20; ++id) REQUIRE(server.opens().start(opener, id, to(pair.bob, "ask"), keep).ok());
  CHECK_FALSE(server.opens().cancel(other, 3));
  CHECK(server.opens().cancel(opener, 3));
  CHECK(reasons == std::vector<Reason>{Reason::kCancelled});
  CHECK_FALSE(server.opens().cancel(opener, 3));
  int pieces = 1;
  while (!server.opens().take_back(opener)) ++pieces;
  CHECK(pieces == 3);  // a piece of work gives up a few
  CHECK(reasons.size() == 20);
  CHECK(pair.alice.manager->pending_opens() == 0);
}
