// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/turn_queue.h"

#include <functional>
#include <memory>
#include <string>

#include <catch2/catch.hpp>

using namespace connd::daemon;

namespace {

struct Client final : TurnClient {
  Client(TurnQueue& queue, std::function<bool()> turn) : TurnClient(queue), turn_(std::move(turn)) {}
  ~Client() = default;

 private:
  bool on_turn() override { return turn_(); }
  std::function<bool()> turn_;
};

struct Turns {
  Loop loop;
  TurnQueue queue{loop};
  /// Lets the loop take some turns.
  void run(int turns = 3) {
    std::function<void()> next = [&] { --turns > 0 ? loop.post(next) : loop.stop(); };
    loop.post(next);
    loop.run();
  }
};

}  // namespace

TEST_CASE("TurnQueue: asked often in a turn, a client comes once, at its end") {
  Turns turns;
  std::string order;
  Client client(turns.queue, [&] {
    order += 't';
    return false;
  });
  turns.loop.post([&] {
    client.request_turn();
    client.request_turn();
    order += 'a';
  });
  turns.loop.post([&] { order += 'b'; });
  turns.run();
  CHECK(order == "abt");
}

TEST_CASE("TurnQueue: who has more to do comes again in later turns, without being asked for") {
  Turns turns;
  int left = 4;
  Client client(turns.queue, [&] {
    if (--left == 0) turns.loop.stop();
    return left > 0;
  });
  client.request_turn();
  turns.loop.run();  // ends by the client alone
  CHECK(left == 0);
}

TEST_CASE("TurnQueue: a client may go in another's turn, or in its own, before its own has come") {
  Turns turns;
  std::unique_ptr<Client> second;
  int seconds = 0;
  Client first(turns.queue, [&] {
    second.reset();
    return false;
  });
  second = std::make_unique<Client>(turns.queue, [&] {
    ++seconds;
    return false;
  });
  std::unique_ptr<Client> third;
  third = std::make_unique<Client>(turns.queue, [&] {
    first.request_turn();  // one that comes while they run has its turn later
    return false;
  });
  first.request_turn();
  second->request_turn();
  third->request_turn();
  turns.run();
  CHECK(seconds == 0);
}
