// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/reloader.h"

#include <atomic>
#include <chrono>
#include <functional>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

struct Reloads {
  Loop loop;
  Config running;
  std::atomic<int> read{0};
  int changed = 0;
  std::function<Outcome<Config>()> wanted = [] { return Config(); };
  Reloader reloader{loop, running,
                    [this] {
                      ++read;
                      return wanted();
                    },
                    [this] { ++changed; }};

  /// What the pool has read is taken over in a turn of its own, some time after it was read.
  void run_until(const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);  // against a hang
    while (!done() && std::chrono::steady_clock::now() < until) turn();
    REQUIRE(done());
  }
  void turn() {
    loop.post_work([] {}, [this] { loop.stop(); });
    loop.run();
  }
};

Config with_idle(int seconds) {
  Config config;
  config.idle_timeout = std::chrono::seconds(seconds);
  return config;
}

}  // namespace

TEST_CASE("Reloader takes over what may change now, and names the rest") {
  Reloads at;
  at.wanted = [] {
    Config config = with_idle(7);
    config.dht_port = 4222;
    return config;
  };
  at.reloader.reload();
  CHECK(at.running.idle_timeout != std::chrono::seconds(7));  // not before the pool has read it
  at.run_until([&] { return at.changed == 1; });
  CHECK(at.running.idle_timeout == std::chrono::seconds(7));
  CHECK(at.running.dht_port == 0);
  CHECK(at.reloader.problem() == "restart jami-connd for the changes of dht-port");

  at.wanted = [] { return with_idle(8); };
  at.reloader.reload();
  at.run_until([&] { return at.changed == 2; });
  CHECK(at.running.idle_timeout == std::chrono::seconds(8));
  CHECK(at.reloader.problem().empty());
}

TEST_CASE("Reloader: a configuration that cannot be read changes nothing, and is told") {
  Reloads at;
  at.running = with_idle(5);
  at.wanted = [] { return Outcome<Config>(invalid("line 3: no such option")); };
  at.reloader.reload();
  at.run_until([&] { return !at.reloader.problem().empty(); });
  CHECK(at.changed == 0);
  CHECK(at.running.idle_timeout == std::chrono::seconds(5));
  CHECK(at.reloader.problem() == "the configuration was not reloaded: line 3: no such option");
}

TEST_CASE("Reloader: told so while it reads it reads once more, however often") {
  Reloads at;
  for (int i = 0; i < 5; ++i) at.reloader.reload();
  at.run_until([&] { return at.changed == 2; });
  CHECK(at.read == 2);
}

TEST_CASE("Reloader takes nothing over once it was stopped") {
  Reloads at;
  at.reloader.reload();
  at.reloader.stop();
  at.run_until([&] { return at.read == 1; });
  at.reloader.reload();
  for (int i = 0; i < 3; ++i) at.turn();
  CHECK(at.changed == 0);
  CHECK(at.read == 1);
}
