// SPDX-License-Identifier: GPL-3.0-or-later
// Who takes channels need not be a client of the control socket.
#include "daemon/local_api/local_apps.h"

#include <catch2/catch.hpp>

#include "daemon/system/fd_limits.h"
#include "tests/daemon/api_pair.h"
#include "tests/daemon/fake_taker.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Reason;

TEST_CASE("a taker that is no session gets channels, is asked, and hears the ends") {
  Pair pair;
  LocalApps& apps = pair.bob.server->apps();
  FakeTaker taker(apps);
  taker.listen("auto");
  taker.listen("asks", ipc::ListenMode::kAsk);

  auto answer = pair.sender.open(pair.bob, "auto");
  REQUIRE(answer.ok());
  std::optional<ipc::ChannelSocket> channel(std::move(*answer));
  REQUIRE(taker.opened.size() == 1);
  CHECK(taker.opened[0].first.uri == "auto");
  CHECK(taker.opened[0].first.peer == pair.alice.id.hex());
  CHECK(taker.opened[0].second);
  CHECK(apps.owners().count_of(taker.number()) == 1);
  // Another taker knows nothing of it, nor does a client of the same user that is no administrator.
  FakeTaker other(apps);
  CHECK(apps.visible(taker, taker.opened[0].first.channel) != nullptr);
  CHECK(apps.visible(other, taker.opened[0].first.channel) == nullptr);
  channel.reset();
  taker.opened.clear();
  REQUIRE(pair.run_until([&] { return taker.closed.size() == 1; }));
  CHECK(apps.owners().count_of(taker.number()) == 0);

  std::optional<Reason> declined;
  pair.sender->connect_device(pair.bob.id.hex(), "asks",
                              [&](ipc::Outcome<ipc::ChannelSocket> answer) { declined = answer.error().reason; });
  REQUIRE(pair.run_until([&] { return taker.requests.size() == 1; }));
  const auto request = taker.requests[0].request;
  CHECK_FALSE(apps.take_asked(other.number(), request));
  CHECK(apps.asks_about(request));
  REQUIRE(apps.take_asked(taker.number(), request));
  CHECK_FALSE(apps.take_asked(taker.number(), request));
  pair.bob.manager->channels().refuse(request, Reason::kDeclined, "no");
  REQUIRE(pair.run_until([&] { return declined.has_value(); }));
  CHECK(*declined == Reason::kDeclined);
}

TEST_CASE("peers hear why a taker gets no channel of theirs") {
  Pair pair;
  LocalApps& apps = pair.bob.server->apps();
  FakeTaker taker(apps);
  taker.listen("x");
  const auto reason = [&] { return pair.sender.open(pair.bob, "x").error().reason; };
  taker.full = true;
  CHECK(reason() == Reason::kBusy);
  CHECK(apps.refused_busy() == 1);
  taker.full = false;
  taker.takes = false;
  CHECK(reason() == Reason::kNoListener);
  CHECK(taker.opened.empty());
}

TEST_CASE("what a taker cannot take yet waits for it, and goes when it leaves") {
  IpcSettings settings;
  settings.max_channels = 1;  // so that there is room for no second descriptor
  Pair pair({}, with_ipc(settings));
  LocalApps& apps = pair.bob.server->apps();
  std::vector<Reason> reasons;
  const auto keep = [&](const ipc::Outcome<ipc::ChannelSocket>& answer) {
    reasons.push_back(answer.ok() ? Reason::kClosed : answer.error().reason);
  };
  {
    FakeTaker taker(apps);
    taker.who.uid = 0;
    taker.listen("x");
    taker.unsent = FdLimits::kTransient;
    pair.sender->connect_device(pair.bob.id.hex(), "x", keep);
    REQUIRE(pair.run_until([&] { return apps.held().size() == 1; }));
    CHECK_FALSE(apps.accept_held(taker));
    taker.unsent = 0;
    CHECK(apps.accept_held(taker));
    CHECK(taker.opened.size() == 1);
    REQUIRE(pair.run_until([&] { return reasons.size() == 1; }));
    CHECK(reasons[0] == Reason::kClosed);
  }
  CHECK(apps.listeners().size() == 0);
  CHECK(apps.find(1) == nullptr);
}
