// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/reload.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;
using Texts = std::vector<std::string>;

TEST_CASE("nothing has changed") {
  const Reload plan = plan_reload(Config(), Config());
  CHECK(plan.changed.empty());
  CHECK(plan.waiting.empty());
}

TEST_CASE("what may change now is taken over, the rest is named and stays") {
  Config wanted;
  wanted.idle_timeout = std::chrono::seconds(7);
  wanted.ice_request = IceRequestPolicy::kAnyone;
  wanted.reservations = {{"file://", 1000, std::nullopt}};
  wanted.dht_port = 4222;
  wanted.bootstrap = {{"a", 1}};
  const Reload plan = plan_reload(Config(), wanted);
  CHECK(plan.changed ==
        Texts{"ice-request: trusted -> anyone", "reserve: none -> user:1000 file://", "idle-timeout: 300 -> 7"});
  CHECK(plan.waiting == Texts{"bootstrap", "dht-port"});
  CHECK(plan.next.idle_timeout == std::chrono::seconds(7));
  CHECK(plan.next.ice_request == IceRequestPolicy::kAnyone);
  CHECK(plan.next.reservations == wanted.reservations);
  CHECK(plan.next.dht_port == 0);
  CHECK(plan.next.bootstrap == Config().bootstrap);
}

TEST_CASE("a change that waits for a restart, taken back, waits no more") {
  Config wanted;
  wanted.max_channels = 5;
  const Reload first = plan_reload(Config(), wanted);
  CHECK(first.waiting == Texts{"max-channels"});
  CHECK(plan_reload(first.next, Config()).waiting.empty());
}
