// SPDX-License-Identifier: GPL-3.0-or-later
// B4 where both sides dial: two connections, and each side may have asked on another one.
#include <random>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

/// Two that allow each other; what they tell each other over the DHT may be kept back.
struct Both {
  World world;
  Exchange exchange{world};
  Node alice{exchange, 0};
  Node bob{exchange, 1};
  struct Kept {
    Node* to;
    SignalMessage message;
  };
  std::vector<Kept> answers;

  Both() {
    alice.allow(bob);
    bob.allow(alice);
  }

  void keep_answers() {
    answers.clear();
    exchange.filter = [this](const auto& from, const auto& to, const proto::ByteVector& body) {
      if (!proto::ConnectionRequest::decode(body)->is_answer) return true;
      Node& sender = from == alice.id ? alice : bob;
      answers.push_back({to == alice.id ? &alice : &bob, {from, sender.public_key, body, false}});
      return false;
    };
  }
  /// Those to `first` come a turn earlier than the other's.
  void release_answers(const Node& first) {
    exchange.filter = nullptr;
    for (const bool now : {true, false}) {
      for (const Kept& kept : answers) {
        if ((kept.to == &first) == now) {
          world.loop.post([to = kept.to, message = kept.message] { to->manager->on_signal(message); });
        }
      }
    }
  }
  void part() {
    for (Node* node : {&alice, &bob}) {
      node->manager->close_connections((node == &alice ? bob : alice).id, Reason::kCancelled, "the test goes on");
    }
    REQUIRE(world.run_until([&] {
      std::size_t left = 0;
      const auto count = [&left](const ConnectionView&) { ++left; };
      alice.manager->each_connection(count);
      bob.manager->each_connection(count);
      return left == 0;
    }));
    for (Node* node : {&alice, &bob}) node->accepted.clear();
  }
};

std::size_t channels_of(const Node& node, const std::string& uri) {
  std::size_t count = 0;
  node.manager->channels().each([&](const ChannelView& view) { count += view.uri == uri; });
  return count;
}

/// The one fd that a node has of the channel: as the result of its open, or from its listener.
int fd_of(Node& node, std::vector<OpenResult>& results) {
  std::vector<int> fds;
  for (OpenResult& result : results) {
    if (opened(result).fd) fds.push_back(opened(result).fd.get());
  }
  for (Node::Accepted& accepted : node.accepted) fds.push_back(accepted.fd.get());
  REQUIRE(fds.size() == 1);
  return fds.front();
}

}  // namespace

TEST_CASE("B4: both open at once while there is no connection: one channel, whichever comes up first") {
  Both both;
  std::size_t double_connections = 0;
  for (int round = 0; round < 24; ++round) {
    const std::string uri = "u" + std::to_string(round);
    std::vector<OpenResult> here;
    std::vector<OpenResult> there;
    both.keep_answers();
    both.alice.open_later(both.bob, uri, here, 20s, true);
    both.bob.open_later(both.alice, uri, there, 20s, true);
    if (round % 2 == 0) both.alice.open_later(both.bob, uri, here, 20s, true);
    const std::size_t results = round % 2 == 0 ? 3 : 2;
    REQUIRE(both.world.run_until([&] { return both.answers.size() >= 2; }));
    both.release_answers(round % 3 == 0 ? both.alice : both.bob);
    REQUIRE(both.world.run_until([&] { return here.size() + there.size() == results; }));
    // An accepted channel is with the listener at once; nothing is on its way to one.
    const int a = fd_of(both.alice, here);
    const int b = fd_of(both.bob, there);
    REQUIRE(::send(a, "a", 1, 0) == 1);
    REQUIRE(::send(b, "b", 1, 0) == 1);
    CHECK(read_exactly(both.world, a, 1) == "b");
    CHECK(read_exactly(both.world, b, 1) == "a");
    double_connections += both.alice.manager->connection_count() == 2;
    CHECK(channels_of(both.alice, uri) == 1);
    CHECK(channels_of(both.bob, uri) == 1);
    both.part();
  }
  CHECK(double_connections > 0);
}

TEST_CASE(
    "B4: opens, cancelled opens and lost connections in any order: each is answered once, and one channel is left") {
  const unsigned seed = GENERATE(1u, 2u, 3u);
  std::mt19937 random(seed);
  CAPTURE(seed);
  Both both;
  Node* const nodes[] = {&both.alice, &both.bob};
  for (int round = 0; round < 8; ++round) {
    CAPTURE(round);
    std::size_t asked = 0;
    std::size_t answered = 0;
    std::vector<OpenResult> kept;
    for (int step = 0; step < 12; ++step) {
      Node& node = *nodes[random() % 2];
      Node& peer = &node == &both.alice ? both.bob : both.alice;
      const unsigned choice = random() % 16;
      if (choice == 0) node.manager->close_connections(peer.id, Reason::kConnectionLost, "cut by the test");
      const OpenRequest request{peer.id, "u", true, {}, 20s};
      auto started = node.manager->open(request, [&](OpenResult result) {
        ++answered;
        kept.push_back(std::move(result));
      });
      REQUIRE(std::holds_alternative<OpenNumber>(started));
      ++asked;
      if (choice < 4) node.manager->cancel_open(std::get<OpenNumber>(started), Reason::kCancelled);
      if (choice > 12) {
        kept.clear();  // whoever had the channel closes it
        node.accepted.clear();
      }
      const std::size_t enough = asked - random() % 3;
      REQUIRE(both.world.run_until([&] { return answered >= std::min(enough, asked - 1); }));
    }
    REQUIRE(both.world.run_until([&] { return answered == asked; }));
    kept.clear();
    for (Node* node : nodes) node->accepted.clear();
    REQUIRE(both.world.run_until(
        [&] { return both.alice.manager->channels().size() == 0 && both.bob.manager->channels().size() == 0; }));
    auto last = both.alice.open(both.bob, "u", true);
    CHECK(opened(last).fd);
    CHECK(channels_of(both.alice, "u") == 1);
    CHECK(channels_of(both.bob, "u") == 1);
    both.part();
  }
}

TEST_CASE("B4: who has the channel from a listener and opens it joins it") {
  Both both;
  auto first = both.alice.open(both.bob, "u", true);
  CHECK(opened(first).fd);
  REQUIRE(both.bob.accepted.size() == 1);
  auto joined = both.bob.open(both.alice, "u", true);
  CHECK(opened(joined).joined);
  CHECK_FALSE(opened(joined).fd);
  CHECK(opened(joined).channel == both.bob.accepted[0].channel);
  CHECK(both.alice.accepted.empty());
}
