// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection/connection_manager.h: many channels, and no descriptor left for one.
#include <dirent.h>

#include <catch2/catch.hpp>
#include <sys/resource.h>

#include "daemon/connection/connection_manager.h"
#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

std::size_t open_fds() {
  DIR* dir = opendir("/proc/self/fd");
  REQUIRE(dir != nullptr);
  std::size_t n = 0;
  while (readdir(dir) != nullptr) ++n;
  closedir(dir);
  return n;
}

/// While it lives the process gets no further descriptor.
class NoFreeFd {
 public:
  NoFreeFd() {
    // UBSan's first look at a type takes a pipe; errors are compared while there is none to be had.
    CHECK_FALSE((std::error_code(EMFILE, std::system_category()) == std::errc::operation_canceled));
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const ipc::Fd next(dup(0));
    const rlimit none{static_cast<rlim_t>(next.get()), before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  ~NoFreeFd() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

/// Alice and Bob are connected, and a request of hers waits for him.
struct OneWaits {
  std::vector<OpenResult> results;  // outlives Alice, whose end answers what is left
  Two two;
  OpenResult warm = two.alice.open(two.bob, "warm");
  OneWaits() {
    opened(warm);
    two.bob.accept = false;
    two.alice.open_later(two.bob, "x", results);
    REQUIRE(two.world.run_until([this] { return two.bob.requests.size() == 1; }));
  }
};

}  // namespace

TEST_CASE("a thousand channels open, echo and close; nothing leaks") {
  Two two;
  auto warm = two.alice.open(two.bob, "warm");
  two.bob.settle();
  const std::size_t before = open_fds();
  {
    std::vector<OpenResult> results;
    for (int i = 0; i < 1000; ++i) two.alice.open_later(two.bob, "c" + std::to_string(i), results);
    REQUIRE(two.world.run_until([&] { return results.size() == 1'000; }));
    REQUIRE(two.bob.accepted.size() == 1'001);
    for (int i = 0; i < 1'000; ++i) {
      const std::string text = "number " + std::to_string(i);
      REQUIRE(::send(opened(results[static_cast<std::size_t>(i)]).fd.get(), text.data(), text.size(), 0) > 0);
    }
    for (OpenResult& result : results) opened(result).fd.reset();
    for (std::size_t i = 1; i < two.bob.accepted.size(); ++i) {
      auto& channel = two.bob.accepted[i];
      REQUIRE(read_to_end(two.world, channel.fd.get()) == "number " + channel.uri.substr(1));
      channel.fd.reset();
    }
    REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1'000 && two.bob.ended.size() == 1'000; }));
  }
  for (const ChannelEnd& end : two.alice.ended) REQUIRE((end.reason == Reason::kClosed));
  CHECK(two.alice.manager->channels().size() == 1);
  CHECK(open_fds() == before);
}

TEST_CASE("no free descriptor: the peer's request is refused with resource-limit, and the next one is served") {
  OneWaits waits;
  Two& two = waits.two;
  std::vector<OpenResult>& results = waits.results;
  two.bob.settle();
  {
    const NoFreeFd none;
    const auto accepted = two.bob.manager->channels().accept(two.bob.requests[0].channel, {});
    REQUIRE(std::holds_alternative<OpenError>(accepted));
    CHECK((std::get<OpenError>(accepted).reason == Reason::kResourceLimit));
  }
  REQUIRE(two.world.run_until([&] { return results.size() == 1; }));
  CHECK((failed(results[0]) == Reason::kResourceLimit));
  CHECK(two.bob.manager->channels().size() == 1);
  CHECK(two.alice.manager->channels().size() == 1);
  two.bob.accept = true;
  auto next = two.alice.open(two.bob, "y");
  CHECK(opened(next).fd);
}

TEST_CASE("a request whose connection has just failed is over") {
  OneWaits waits;
  Two& two = waits.two;
  two.bob.manager->close_connections(two.alice.id, Reason::kConnectionLost, "cut by the test");
  const auto accepted = two.bob.manager->channels().accept(two.bob.requests[0].channel, {});
  REQUIRE(std::holds_alternative<OpenError>(accepted));
  CHECK((std::get<OpenError>(accepted).reason == Reason::kNotFound));
  CHECK(two.bob.manager->channels().size() == 1);  // the warm one, which ends in the next turn
  REQUIRE(two.world.run_until([&] { return two.bob.manager->channels().size() == 0; }));
}

TEST_CASE("no free descriptor at the opener: its open fails with resource-limit, the acceptor's channel is reset") {
  OneWaits waits;
  Two& two = waits.two;
  std::vector<OpenResult>& results = waits.results;
  two.bob.settle();
  const auto accepted = two.bob.manager->channels().accept(two.bob.requests[0].channel, {});
  REQUIRE(std::holds_alternative<ipc::Fd>(accepted));
  {
    const NoFreeFd none;
    REQUIRE(two.world.run_until([&] { return results.size() == 1; }));
  }
  CHECK((failed(results[0]) == Reason::kResourceLimit));
  REQUIRE(two.world.run_until([&] { return two.bob.ended.size() == 1; }));
  CHECK((two.bob.ended[0].reason == Reason::kResourceLimit));
  CHECK(two.alice.manager->channels().size() == 1);
}

TEST_CASE("as many opens wait as may; one more is refused at once, until one has its answer") {
  std::vector<OpenResult> results;  // outlives Alice, whose end answers what is left
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.limits.max_pending_opens = 2;
  Node alice{exchange, 0, options};
  Node bob{exchange, 1};
  bob.allow(alice);
  bob.accept = false;
  alice.open_later(bob, "a", results);
  alice.open_later(bob, "b", results);
  REQUIRE(alice.manager->pending_opens() == 2);
  CHECK(failed(alice.open(bob, "c")) == Reason::kResourceLimit);
  REQUIRE(world.run_until([&] { return bob.requests.size() == 2; }));
  bob.manager->channels().refuse(bob.requests[0].channel, Reason::kDeclined, "");
  REQUIRE(world.run_until([&] { return results.size() == 1; }));
  bob.accept = true;
  CHECK(alice.open(bob, "c").index() == 0);
}

TEST_CASE("the names of all pending opens are bounded") {
  std::vector<OpenResult> results;  // outlives Alice, whose end answers what is left
  World world;
  Exchange exchange{world};
  Node alice{exchange, 0};
  Node bob{exchange, 1};
  exchange.filter = [](const auto&, const auto&, const auto&) { return false; };
  const std::string name(proto::kMaxName, 'n');
  std::size_t pending = 0;
  do {
    pending = alice.manager->pending_opens();
    alice.open_later(bob, name, results);
  } while (alice.manager->pending_opens() > pending && pending < 2'000);
  CHECK(pending == (std::size_t{64} << 20) / proto::kMaxName);
}

TEST_CASE("fault C3: the names of channels, and of what waits, are bounded in bytes together") {
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.limits.max_name_bytes = 100;
  Node alice{exchange, 0, options};
  Node bob{exchange, 1};
  bob.allow(alice);
  alice.allow(bob);
  CHECK(alice.open(bob, std::string(60, 'a')).index() == 0);
  CHECK(failed(alice.open(bob, std::string(41, 'b'))) == Reason::kResourceLimit);
  // The peer's names count as ours do.
  CHECK(failed(bob.open(alice, std::string(41, 'c'))) == Reason::kResourceLimit);
  CHECK(bob.open(alice, std::string(40, 'd')).index() == 0);
  CHECK(alice.manager->channels().name_bytes() == 100);
  CHECK(failed(alice.open(bob, "e")) == Reason::kResourceLimit);
  // What has ended leaves its room.
  CHECK(alice.manager->channels().close(alice.accepted.at(0).channel, Reason::kCancelled, {}));
  REQUIRE(world.run_until([&] { return alice.manager->channels().size() == 1; }));
  CHECK(alice.manager->channels().name_bytes() == 60);
  CHECK(alice.open(bob, std::string(40, 'f')).index() == 0);
}

TEST_CASE("fault C3: one peer's names take a part of the room only") {
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.limits.max_peer_name_bytes = 50;
  Node alice{exchange, 0, options};
  Node bob{exchange, 1};
  alice.allow(bob);
  bob.allow(alice);
  CHECK(bob.open(alice, std::string(50, 'a')).index() == 0);
  CHECK(failed(bob.open(alice, "b")) == Reason::kResourceLimit);
  CHECK(alice.open(bob, std::string(50, 'c')).index() == 0);  // ours
}

TEST_CASE("an open whose time and whose attempt's time are over at once: the attempt is told of once") {
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.times.total = kTimeToAsk;
  Node alice{exchange, 0, options};
  Node bob{exchange, 1};
  exchange.filter = [](const auto&, const auto&, const auto&) { return false; };
  CHECK((failed(alice.open(bob, "x", false, false, kTimeToAsk)) == Reason::kNoAnswerOrRefused));
  CHECK_FALSE(world.run_until([&] { return alice.events("connection.failed") > 1; }, 1s));
  CHECK(alice.events("connection.failed") == 1);
  CHECK(alice.manager->totals().connections_failed == 1);
}

TEST_CASE("an open that joins an attempt has its own time: it is dialled for again") {
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.times.total = kTimeToAsk;
  Node alice{exchange, 0, options};
  Node bob{exchange, 1};
  bob.allow(alice);
  exchange.filter = [](const auto&, const auto&, const auto&) { return false; };
  std::vector<OpenResult> results;
  alice.open_later(bob, "short", results, kTimeToAsk);
  alice.open_later(bob, "long", results, 40s);
  REQUIRE(world.run_until([&] { return results.size() == 1; }));
  CHECK((failed(results[0]) == Reason::kNoAnswerOrRefused));
  exchange.filter = nullptr;
  REQUIRE(world.run_until([&] { return results.size() == 2; }));
  CHECK(opened(results[1]).fd);
}

TEST_CASE("a request that was refused for want of room comes again, and is judged anew") {
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.limits.max_connections = 1;
  Node bob{exchange, 1, options};
  options = {};
  options.times.resend = 1200ms;
  Node alice{exchange, 0, options};
  Node carol{exchange, 2};
  bob.allow(alice);
  bob.allow(carol);
  auto first = carol.open(bob, "x");
  CHECK(opened(first).fd);
  std::vector<OpenResult> results;
  alice.open_later(bob, "y", results);
  REQUIRE(world.run_until([&] { return bob.events("request.refused") == 1; }));
  bob.manager->close_connections(carol.id, Reason::kCancelled, "the test goes on");
  REQUIRE(world.run_until([&] { return results.size() == 1; }));
  CHECK(opened(results[0]).fd);
}

TEST_CASE("a peer that has as many channels as one may is refused further ones; others are not") {
  World world;
  Exchange exchange{world};
  Node alice{exchange, 0};
  Node bob{exchange, 1, [] {
             Node::Options options;
             options.limits.max_channels_per_peer = 2;
             return options;
           }()};
  Node carol{exchange, 2};
  bob.allow(alice);
  bob.allow(carol);
  auto first = alice.open(bob, "1");
  auto second = alice.open(bob, "2");
  CHECK(opened(first).fd);
  CHECK(opened(second).fd);
  const auto third = alice.open(bob, "3");
  CHECK(failed(third) == Reason::kResourceLimit);
  CHECK(std::get<OpenError>(third).text == "the peer takes no more channels from this device for now");  // its hello
  auto carols = carol.open(bob, "1");
  CHECK(opened(carols).fd);
  auto ours = bob.open(alice, "ours");  // what is asked for here is no request of the peer's
  CHECK(opened(ours).fd);
  opened(ours).fd.reset();
  opened(first).fd.reset();
  alice.accepted.clear();
  bob.accepted.clear();
  opened(second).fd.reset();
  REQUIRE(world.run_until([&] { return bob.ended.size() == 3; }));
  auto again = alice.open(bob, "4");
  CHECK(opened(again).fd);
}

TEST_CASE("fault C4: opens that are taken back at once, faster than the peer takes, do not end the connection") {
  World world;
  Exchange exchange{world};
  Node alice{exchange, 0};
  Node::Options refuses;
  refuses.limits.max_channels_per_peer = 1;
  Node bob{exchange, 1, refuses};
  bob.allow(alice);
  auto warm = alice.open(bob, "warm");
  opened(warm);
  // Each is refused before it is taken back, so that comes too late: more than the burst of such that a peer takes
  // (proto::kNoiseBurst). By and by, for ids are free again only when both sides have said so.
  constexpr std::size_t kPairs = 160'000;
  constexpr std::size_t kAtOnce = 2'000;
  std::vector<OpenResult> behind;
  const auto begun = world.loop.now();
  for (std::size_t i = 0; i < kPairs; i += kAtOnce) {
    for (std::size_t k = 0; k < kAtOnce; ++k) {
      const auto open = alice.manager->open({bob.id, "x", false, {}, 20s}, [](const OpenResult&) {});
      alice.manager->cancel_open(std::get<OpenNumber>(open), Reason::kCancelled);
    }
    alice.open_later(bob, "behind", behind);
    REQUIRE(world.run_until([&] { return behind.size() == i / kAtOnce + 1; }));
  }
  CHECK((failed(behind.front()) == Reason::kResourceLimit));
  // There is no pace left, unless a slow machine got more of it meanwhile than it could use.
  const auto seconds = std::chrono::duration<double>(world.loop.now() - begun).count();
  if (seconds * proto::kNoiseRate + proto::kNoiseBurst < kPairs) CHECK((failed(behind.back()) == Reason::kBusy));
  CHECK(alice.events("connection.closed") == 0);
  CHECK(bob.events("connection.closed") == 0);
  CHECK(alice.manager->channels().size() == 1);
}
