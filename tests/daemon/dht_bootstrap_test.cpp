// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_bootstrap.h"

#include <algorithm>
#include <future>
#include <optional>

#include <catch2/catch.hpp>
#include <netinet/in.h>

using namespace connd::daemon;
using std::chrono::milliseconds;

namespace {

/// What a node would be told, and a nameserver in the hands of the test: it knows "host", and answers when told to.
struct Node {
  Loop loop;
  std::vector<std::uint16_t> pinged;  ///< ports
  int begun = 0;
  std::promise<void> answer;
  std::optional<DhtBootstrap> bootstrap;

  explicit Node(std::vector<DhtBootstrap::Place> places) {
    DhtBootstrap::Callbacks callbacks;
    callbacks.ping = [this](const SocketAddress& address) {
      pinged.push_back(ntohs(reinterpret_cast<const sockaddr_in&>(address.storage).sin_port));
    };
    callbacks.begun = [this] { ++begun; };
    const std::shared_future<void> answered = answer.get_future().share();
    bootstrap.emplace(loop, std::move(places), std::move(callbacks),
                      [answered](const std::string& host, const std::string& port) {
                        answered.wait();
                        return host == "host" ? numeric_addresses("192.0.2.1", port) : Resolver::Addresses{};
                      });
  }
  template <class F>
  bool run_until(F done) {
    bool late = false;
    Timer timer(loop, [&] {
      late = true;
      loop.stop();
    });
    timer.arm_in(std::chrono::seconds(60));
    BeforeWait check(loop, [&] {
      if (done()) loop.stop();
    });
    if (!done()) loop.run();
    return !late;
  }
};

using Ports = std::vector<std::uint16_t>;
using Places = std::vector<DhtBootstrap::Place>;

}  // namespace

TEST_CASE("literals of a bootstrap list are given out at once, names when they are known") {
  Node node({{"host", "1"}, {"192.0.2.7", "2"}, {"nobody", "3"}});
  CHECK(node.bootstrap->start({}));
  CHECK(node.pinged == Ports{2});
  node.answer.set_value();
  CHECK(node.run_until([&] { return node.pinged.size() == 2 && !node.bootstrap->unresolved().empty(); }));
  CHECK(node.pinged == Ports{2, 1});
  CHECK(node.bootstrap->unresolved() == std::vector<std::string>{"nobody"});
  CHECK(node.begun == 0);  // nobody waited
  node.bootstrap->forget_unresolved();
  CHECK(node.bootstrap->unresolved().empty());
}

TEST_CASE("who has nothing but names waits for the first that is known") {
  Node node({{"nobody", "1"}, {"host", "2"}});
  CHECK_FALSE(node.bootstrap->start({}));
  CHECK(node.begun == 0);
  node.answer.set_value();
  CHECK(node.run_until([&] { return node.begun == 1; }));
  CHECK(node.pinged == Ports{2});
}

TEST_CASE("fault D2: with a dead nameserver the node begins all the same, and stopping waits for nothing") {
  Node node(Places{{"host", "1"}});
  CHECK_FALSE(node.bootstrap->start({}));
  CHECK(node.run_until([&] { return node.begun == 1; }));
  CHECK(node.pinged.empty());
  node.bootstrap->stop();
  node.bootstrap.reset();
  node.answer.set_value();
}

TEST_CASE("no names, and names that do not exist: nothing to wait for") {
  Node empty({});
  CHECK(empty.bootstrap->start({}));
  Node node({{"nobody", "1"}, {"nobody else", "2"}});
  CHECK_FALSE(node.bootstrap->start({}));
  node.answer.set_value();
  CHECK(node.run_until([&] { return node.begun == 1; }));
  CHECK(node.bootstrap->unresolved().size() == 2);
}

TEST_CASE("rounds come again while nobody is known, and at a change of the network, and end with a connection") {
  Node node(Places{{"192.0.2.7", "2"}});
  node.bootstrap->start({});
  CHECK(node.pinged.size() == 1);
  CHECK(node.run_until([&] { return node.pinged.size() == 2; }));
  node.bootstrap->network_changed();
  CHECK(node.pinged.size() == 3);
  node.bootstrap->set_connected(true);
  node.bootstrap->network_changed();
  CHECK(node.pinged.size() == 3);
  node.bootstrap->ask_again();
  CHECK(node.pinged.size() == 4);
  node.bootstrap->set_connected(false);
  CHECK(node.run_until([&] { return node.pinged.size() == 5; }));
  node.bootstrap->stop();
  node.bootstrap->ask_again();
  node.bootstrap->network_changed();
  CHECK(node.pinged.size() == 5);
}
