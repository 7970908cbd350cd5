// SPDX-License-Identifier: GPL-3.0-or-later
// Two ConnectionManagers, one of which looks like a Jami device: no `jc`, no ALPN, no hand-over. Both then speak Jami's
// dialect, over real ICE, TLS and sockets. With the real jamid: tests/interop.
#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "daemon/connection/connection_manager.h"
#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

namespace {

struct WithJami {
  World world;
  Exchange exchange{world};
  Node alice;
  Node jami{exchange, 1, [] {
              Node::Options options;
              options.native = false;
              return options;
            }()};
  explicit WithJami(const Node::Options& of_alice = {}) : alice(exchange, 0, of_alice) {
    jami.allow(alice);
    alice.allow(jami);
  }
  bool until(const std::function<bool()>& done) { return world.run_until(done); }
  /// A channel of alice's to jami, both ends of it.
  std::pair<OpenedChannel, Node::Accepted> channel(bool strict = false) {
    auto result = alice.open(jami, "x", false, strict);
    OpenedChannel ours = std::move(opened(result));
    REQUIRE(until([&] { return !jami.accepted.empty(); }));
    Node::Accepted theirs = std::move(jami.accepted.front());
    jami.accepted.pop_front();
    return {std::move(ours), std::move(theirs)};
  }
};

}  // namespace

TEST_CASE("with a Jami peer: both call, accept and decline, one connection for all") {
  WithJami two;
  auto first = two.alice.open(two.jami, "sip");
  OpenedChannel& ours = opened(first);
  CHECK_FALSE(ours.half_close);
  CHECK(ours.account == two.jami.chain.account_id());
  auto second = two.jami.open(two.alice, "sip");
  OpenedChannel& theirs = opened(second);
  CHECK_FALSE(theirs.half_close);
  CHECK(two.alice.manager->connection_count() == 1);
  REQUIRE(two.jami.accepted.size() == 1);
  REQUIRE(two.alice.accepted.size() == 1);
  write_all(two.world, ours.fd.get(), "ping");
  CHECK(read_exactly(two.world, two.jami.accepted[0].fd.get(), 4) == "ping");
  write_all(two.world, two.alice.accepted[0].fd.get(), std::string(1'000'000, 'y'));
  CHECK(read_exactly(two.world, theirs.fd.get(), 1'000'000) == std::string(1'000'000, 'y'));

  two.jami.accept = false;
  std::vector<OpenResult> results;
  two.alice.open_later(two.jami, "echo", results);
  REQUIRE(two.until([&] { return !two.jami.requests.empty(); }));
  CHECK_FALSE(two.jami.requests[0].half_close);
  two.jami.manager->channels().refuse(two.jami.requests[0].channel, Reason::kNoListener, "nobody");
  REQUIRE(two.until([&] { return !results.empty(); }));
  CHECK(failed(results[0]) == Reason::kDeclined);

  two.alice.manager->each_connection([](const ConnectionView& view) {
    REQUIRE(view.socket != nullptr);
    CHECK_FALSE(view.socket->link().native());
  });
}

TEST_CASE("with a Jami peer: called by it first") {
  WithJami two;
  auto result = two.jami.open(two.alice, "sip");
  CHECK(opened(result).fd);
  CHECK(two.alice.accepted.size() == 1);
}

TEST_CASE("E1: with a Jami peer: beacons are sent to one that has said its version, and it answers them") {
  Node::Options options;
  options.keepalive = 50ms;
  WithJami two(options);
  auto [ours, theirs] = two.channel();
  std::optional<proto::Duration> round_trip;
  CHECK(two.until([&] {
    two.alice.manager->each_connection([&](const ConnectionView& view) {
      if (view.socket != nullptr) round_trip = view.socket->mux_state()->keepalive().round_trip();
    });
    return round_trip.has_value();
  }));
}

TEST_CASE("H6: the end of an app's writing is held back until it closes for good") {
  const bool strict = GENERATE(false, true);
  WithJami two;
  auto [ours, theirs] = two.channel(strict);
  write_all(two.world, ours.fd.get(), "question");
  ::shutdown(ours.fd.get(), SHUT_WR);
  if (strict) CHECK(two.alice.manager->channels().finish(ours.channel));
  CHECK(read_exactly(two.world, theirs.fd.get(), 8) == "question");
  // The peer still answers, so it has not heard of the end.
  write_all(two.world, theirs.fd.get(), "answer");
  CHECK(read_exactly(two.world, ours.fd.get(), 6) == "answer");
  CHECK(two.alice.ended.empty());
  CHECK(two.jami.ended.empty());
  ours.fd.reset();
  REQUIRE(two.until([&] { return two.alice.ended.size() == 1 && two.jami.ended.size() == 1; }));
  CHECK(two.alice.ended[0].reason == Reason::kClosed);
  CHECK(two.alice.ended[0].bytes_in == 6);
  CHECK(two.alice.ended[0].bytes_out == 8);
  CHECK(two.jami.ended[0].reason == Reason::kClosed);
  CHECK(read_to_end(two.world, theirs.fd.get()).empty());
}

TEST_CASE("with a Jami peer: the peer's end ends both directions, behind its data") {
  WithJami two;
  auto [ours, theirs] = two.channel();
  write_all(two.world, theirs.fd.get(), std::string(500'000, 'z'));
  theirs.fd.reset();
  CHECK(read_to_end(two.world, ours.fd.get()) == std::string(500'000, 'z'));
  REQUIRE(two.until([&] { return two.alice.ended.size() == 1 && two.jami.ended.size() == 1; }));
  CHECK(two.alice.ended[0].reason == Reason::kClosed);
  CHECK(two.alice.ended[0].bytes_in == 500'000);
  CHECK(::send(ours.fd.get(), "x", 1, MSG_NOSIGNAL) == -1);
}

TEST_CASE("with a Jami peer: an app that dies without finishing is told apart here, at least") {
  WithJami two;
  auto [ours, theirs] = two.channel(true);
  ours.fd.reset();
  REQUIRE(two.until([&] { return two.alice.ended.size() == 1 && two.jami.ended.size() == 1; }));
  CHECK(two.alice.ended[0].reason == Reason::kCancelled);
  CHECK(two.jami.ended[0].reason == Reason::kClosed);  // the dialect has no word for it
}

TEST_CASE("with a Jami peer: what its end has cut off was not taken") {
  WithJami two;
  auto [ours, theirs] = two.channel();
  // Its app does not read, so that neither does our side of the connection for long: the socketpair fills.
  std::size_t written = 0;
  for (ssize_t n = 0; (n = ::send(ours.fd.get(), std::string(65'536, 'q').data(), 65'536, MSG_DONTWAIT)) > 0;) {
    written += static_cast<std::size_t>(n);
  }
  CHECK(written > 0);
  // The end comes in the turn in which the bytes are still in the socket.
  CHECK(two.jami.manager->channels().close(theirs.channel, Reason::kCancelled, ""));
  REQUIRE(two.until([&] { return two.alice.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == Reason::kStalled || two.alice.ended[0].bytes_out == written));
}

TEST_CASE("D2: an app that does not read slows the connection down for one stop, then stalls alone") {
  WithJami two;
  auto [stuck, sender] = two.channel();
  auto [other, other_sender] = two.channel();
  // More than is held: the sender's app cannot get rid of all of it.
  const std::string block(1 << 20, 's');
  std::size_t sent = 0;
  const auto started = std::chrono::steady_clock::now();
  const bool ended = two.world.run_until(
      [&, fd = sender.fd.get()] {
        ssize_t n = 0;
        while ((n = ::send(fd, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
          sent += static_cast<std::size_t>(n);
        }
        return !two.alice.ended.empty();
      },
      30s);
  REQUIRE(ended);
  const auto took = std::chrono::steady_clock::now() - started;
  CHECK(two.alice.ended[0].channel == stuck.channel);
  CHECK(two.alice.ended[0].reason == Reason::kStalled);
  CHECK(two.alice.manager->totals().channels_stalled == 1);
  CHECK(took >= proto::kStopTime);
  CHECK(sent >= proto::kHeldMark);
  // What the app could have read is in its socket; what lay in the daemon is gone, and the other channel lives.
  write_all(two.world, other_sender.fd.get(), "still here");
  CHECK(read_exactly(two.world, other.fd.get(), 10) == "still here");
  CHECK(two.alice.manager->connection_count() == 1);
  two.alice.manager->each_connection(
      [](const ConnectionView& view) { CHECK(view.socket->mux_state()->buffered_bytes() == 0); });
}

namespace {

/// Writes to `fd` as much of `left` bytes as it takes now.
void write_some(int fd, std::size_t& left) {
  static const std::string block(1 << 20, 'w');
  while (left > 0) {
    const ssize_t n = ::send(fd, block.data(), std::min(left, block.size()), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) return;
    left -= static_cast<std::size_t>(n);
  }
}

std::uint64_t held_at(Node& node) {
  std::uint64_t held = 0;
  node.manager->each_connection([&](const ConnectionView& view) {
    if (view.socket != nullptr && view.socket->mux_state() != nullptr)
      held = view.socket->mux_state()->buffered_bytes();
  });
  return held;
}

}  // namespace

TEST_CASE(
    "fault J1: with a Jami peer: a slow reader gets everything, also what came before the end of channel and all") {
  const bool connection_ends = GENERATE(false, true);
  WithJami two;
  auto [ours, theirs] = two.channel();
  std::size_t left = std::size_t{24} << 20;
  const std::size_t all = left;
  // Nothing is read until the brake is on.
  REQUIRE(two.world.run_until(
      [&, fd = theirs.fd.get()] {
        write_some(fd, left);
        return held_at(two.alice) >= proto::kHeldMark;
      },
      30s));
  std::size_t got = 0;
  std::string part(100'000, ' ');
  const bool done = two.world.run_until(
      [&, in = ours.fd.get()] {
        two.world.loop.post([] {});
        if (theirs.fd) {
          write_some(theirs.fd.get(), left);
          if (left == 0) theirs.fd.reset();
        }
        // As soon as all has left the peer, it goes; alice has read none of the last bytes.
        if (connection_ends && two.jami.ended.size() == 1 && two.jami.manager->connection_count() == 1) {
          CHECK(two.jami.manager->close_connections(two.alice.id, Reason::kClosed, "") == 1);
        }
        const ssize_t n = ::recv(in, part.data(), part.size(), MSG_DONTWAIT);
        if (n > 0) got += static_cast<std::size_t>(n);
        return n == 0;
      },
      30s);
  REQUIRE(done);
  CHECK(got == all);
  REQUIRE(two.until([&] { return two.alice.ended.size() == 1; }));
  CHECK(two.alice.ended[0].reason == Reason::kClosed);
  CHECK(two.alice.manager->totals().channels_stalled == 0);
}

TEST_CASE(
    "fault J1: with a Jami peer: a connection that is broken, closed here, or whose app closes while it is not read") {
  WithJami two;
  auto [ours, theirs] = two.channel();
  auto [other, other_theirs] = two.channel();
  std::size_t left = std::size_t{200} << 20;
  REQUIRE(two.world.run_until(
      [&, fd = theirs.fd.get()] {
        write_some(fd, left);
        return held_at(two.alice) >= proto::kHeldMark;
      },
      30s));
  SECTION("closed here") {
    CHECK(two.alice.manager->close_connections(two.jami.id, Reason::kCancelled, "") == 1);
    REQUIRE(two.until([&] { return two.alice.ended.size() == 2 && two.jami.ended.size() == 2; }));
    CHECK(two.until([&] { return two.alice.manager->connection_count() == 0; }));
  }
  SECTION("closed there") {
    CHECK(two.jami.manager->close_connections(two.alice.id, Reason::kCancelled, "") == 1);
    REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 2; }, 30s));
    CHECK(two.until([&] { return two.alice.manager->connection_count() == 0; }));
  }
  SECTION("the app closes: all that waited behind it comes") {
    ours.fd.reset();
    write_all(two.world, other_theirs.fd.get(), "still here");
    CHECK(read_exactly(two.world, other.fd.get(), 10) == "still here");
    CHECK(held_at(two.alice) == 0);
  }
}

TEST_CASE("opens to an account: any of its devices, the narrowed one, by the short id, and none") {
  WithJami two;
  Node carol(two.exchange, 2);
  carol.allow(two.alice);
  auto by_account = two.alice.open_account(two.jami.chain.account_id(), "a");
  CHECK(opened(by_account).device == two.jami.id);
  auto again = two.alice.open_account(two.jami.chain.account_id(), "b");  // on the connection that is there
  CHECK(opened(again).device == two.jami.id);
  CHECK(two.alice.manager->connection_count() == 1);
  auto narrowed = two.alice.open_account(carol.chain.account_id(), "c", carol.id);
  CHECK(opened(narrowed).device == carol.id);
  auto other = two.alice.open_account(carol.chain.account_id(), "c", two.jami.id);
  CHECK(failed(other) == Reason::kNotFound);
  proto::AccountId short_id;
  short_id.bytes = two.jami.chain.short_device_id().bytes;
  auto by_short_id = two.alice.open_account(short_id, "d");
  CHECK(opened(by_short_id).device == two.jami.id);
  auto nobody = two.alice.open_account(proto::AccountId{}, "e");
  CHECK(failed(nobody) == Reason::kNotFound);
  two.alice.ban(carol);
  auto banned = two.alice.open_account(carol.chain.account_id(), "f");
  CHECK(failed(banned) == Reason::kBanned);
  CHECK(two.alice.manager->pending_opens() == 0);
}

TEST_CASE("fault J3: a device that was met is called by its short id when it is announced no more") {
  WithJami two;
  proto::AccountId short_id;
  short_id.bytes = two.jami.chain.short_device_id().bytes;
  two.jami.announced = false;
  auto stranger = two.alice.open_account(short_id, "a");
  CHECK(failed(stranger) == Reason::kNotFound);
  auto by_id = two.alice.open(two.jami, "b");
  CHECK(opened(by_id).device == two.jami.id);
  two.alice.manager->close_connections(two.jami.id, Reason::kClosed, "the user closed it");
  REQUIRE(two.until([&] { return two.alice.manager->connection_count() == 0; }));
  auto met = two.alice.open_account(short_id, "c");
  CHECK(opened(met).device == two.jami.id);
  auto narrowed = two.alice.open_account(short_id, "d", two.jami.id);
  CHECK(opened(narrowed).device == two.jami.id);
  auto other = two.alice.open_account(short_id, "e", two.alice.id);
  CHECK(failed(other) != Reason::kTimedOut);
  two.alice.ban(two.jami);
  auto banned = two.alice.open_account(short_id, "f");
  CHECK(failed(banned) == Reason::kBanned);
}

TEST_CASE("F2: an account that is allowed allows its devices") {
  World world;
  Exchange exchange{world};
  Node alice{exchange, 0};
  Node bob{exchange, 1};
  bob.allow_account(alice);
  auto result = alice.open(bob, "x");
  CHECK(opened(result).fd);
}
