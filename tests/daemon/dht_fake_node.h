// SPDX-License-Identifier: GPL-3.0-or-later
/// What the tests of DhtClient's parts share: a node that keeps what it is asked, so that a test says when and with
/// what it answers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/dht/dht_poster.h"
#include "daemon/dht/node_use.h"
#include "tests/daemon/dht_peers.h"

namespace connd::daemon::test {

struct FakeNode final : NodeUse {
  struct Get {
    dht::InfoHash key;
    dht::ValueType::Id type;
    Values values;
    std::function<void()> over;
  };
  struct Put {
    dht::InfoHash key;
    std::shared_ptr<dht::Value> value;
    std::function<void(bool)> over;
  };

  bool there = true;
  std::vector<Get> gets;
  std::vector<Put> puts;
  std::vector<std::string> calls;  ///< of what is kept: "keep KEY" and so on

  bool can_ask() const override { return there; }
  void get(const dht::InfoHash& key, dht::ValueType::Id type, dht::Value::Filter /*filter*/, Values values,
           std::function<void()> over) override {
    REQUIRE(there);
    gets.push_back({key, type, std::move(values), std::move(over)});
  }
  void send(const dht::InfoHash& key, std::shared_ptr<dht::Value> value, std::function<void(bool)> over) override {
    REQUIRE(there);
    puts.push_back({key, std::move(value), std::move(over)});
  }
  void keep(const DhtKept& kept) override { call("keep", kept.key); }
  void stop_listening(const dht::InfoHash& key) override { call("unlisten", key); }
  void stop_putting(const dht::InfoHash& key, dht::Value::Id /*id*/) override { call("unput", key); }
  void wake(const DhtKept& kept) override { call("wake", kept.key); }
  void ask(const DhtKept& kept) override { call("ask", kept.key); }
  void check(const DhtKept& kept) override { call("check", kept.key); }

  /// What was called since the last time.
  std::vector<std::string> take_calls() { return std::exchange(calls, {}); }

 private:
  void call(const char* what, const dht::InfoHash& key) { calls.push_back(std::string(what) + " " + key.toString()); }
};

/// A loop with a node, and a client whose parts are tested: it is gone when `client` is reset.
struct PartsOfClient {
  Loop loop;
  FakeNode node;
  std::shared_ptr<int> client = std::make_shared<int>();
  DhtPoster poster{loop, client};

  /// Until what was posted so far has run, and what the pool had to do.
  void turn() {
    bool over = false;
    loop.post_work([] {}, [&] { loop.post([&] { over = true; }); });
    REQUIRE(run_until(loop, [&] { return over; }));
  }
  proto::TimePoint later() const { return loop.now() + std::chrono::hours(1); }
};

inline std::shared_ptr<dht::Value> value_of(const dht::Blob& data) {
  return std::make_shared<dht::Value>(dht::ValueType::USER_DATA.id, data);
}
inline std::shared_ptr<dht::Value> certificate_value(const Device& whom) {
  return std::make_shared<dht::Value>(dht::CERTIFICATE_TYPE.id, whom.identity.second->getPacked());
}

}  // namespace connd::daemon::test
