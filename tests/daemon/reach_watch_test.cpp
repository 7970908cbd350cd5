// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/reach_watch.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

/// With the actions that it asks for; a test says what comes of them.
struct Watched {
  Loop loop;
  std::vector<std::string> done;
  std::vector<Reach> told;
  std::function<void(const std::string&)> also = [](const std::string&) {};
  std::shared_ptr<std::optional<ReachWatch>> client = std::make_shared<std::optional<ReachWatch>>();
  ReachWatch* watch = nullptr;

  Watched() {
    const auto note = [this](const char* what) {
      return [this, what] {
        done.emplace_back(what);
        also(what);
      };
    };
    ReachWatch::Actions actions;
    actions.wake_listens = note("wake listens");
    actions.wake_all = note("wake all");
    actions.test = note("test");
    actions.renew = note("renew");
    actions.received = [] { return std::uint64_t{0}; };
    actions.told = [this](Reach reach) {
      told.push_back(reach);
      also("told");
    };
    client->emplace(loop, DhtPoster(loop, client), std::move(actions));
    watch = &**client;
  }
  void run_until_done(const std::string& what) {
    const auto before = also;
    also = [this, what, before](const std::string& now) {
      before(now);
      if (now == what) loop.stop();
    };
    loop.run();
    also = before;
  }
};

}  // namespace

TEST_CASE("ReachWatch: a sign wakes all at once, its test comes a moment later, and what passed is told once") {
  Watched at;
  at.watch->begin();
  CHECK(at.done.empty());
  at.watch->on_connected(true);
  CHECK(at.done == std::vector<std::string>{"wake all"});
  at.run_until_done("test");
  CHECK(at.watch->now().tests() == 1);
  CHECK(at.told.empty());
  at.watch->on_test_passed();
  at.watch->on_test_passed();
  CHECK(at.told == std::vector{Reach::kYes});
  at.watch->on_connected(false);
  CHECK(at.told == std::vector{Reach::kYes, Reach::kNo});
}

TEST_CASE("ReachWatch: an action may stop it, and nothing is done after that") {
  Watched at;
  at.also = [&](const std::string&) { at.watch->stop(); };
  at.watch->on_sign();
  CHECK(at.done == std::vector<std::string>{"wake all"});
  at.watch->on_sign();
  at.watch->on_connected(true);
  at.watch->on_test_passed();
  CHECK(at.done.size() == 1);
  CHECK(at.told.empty());
}

TEST_CASE("ReachWatch: whoever is told may end the client") {
  Watched at;
  at.watch->on_connected(true);
  at.also = [&](const std::string& what) {
    if (what == "told") at.client.reset();
  };
  at.run_until_done("test");
  const std::weak_ptr<void> client = at.client;
  at.watch->on_test_passed();
  CHECK(at.told == std::vector{Reach::kYes});
  CHECK(client.expired());
}
