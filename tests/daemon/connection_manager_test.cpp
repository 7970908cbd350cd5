// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connection_manager.h"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/log_lines.h"
#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
using proto::Reason;

TEST_CASE("A1, A4, B1: two channels to a device over one connection, data both ways, ends in order") {
  Two two;
  auto first = two.alice.open(two.bob, "file://file1");
  auto second = two.alice.open(two.bob, "file://file2");
  OpenedChannel& a1 = opened(first);
  OpenedChannel& a2 = opened(second);
  CHECK(a1.device == two.bob.id);
  CHECK(a1.account == two.bob.chain.account_id());
  CHECK(a1.channel != a2.channel);
  CHECK(two.exchange.lookups == 1);
  CHECK(two.alice.manager->connection_count() == 1);
  CHECK(two.bob.manager->connection_count() == 1);
  REQUIRE(two.bob.accepted.size() == 2);
  Node::Accepted& b1 = two.bob.accepted[0];
  CHECK(b1.uri == "file://file1");

  write_all(two.world, a1.fd.get(), "hello");
  CHECK(read_exactly(two.world, b1.fd.get(), 5) == "hello");
  write_all(two.world, b1.fd.get(), "and back");
  CHECK(read_exactly(two.world, a1.fd.get(), 8) == "and back");
  write_all(two.world, a2.fd.get(), "other");
  CHECK(read_exactly(two.world, two.bob.accepted[1].fd.get(), 5) == "other");

  // C2: half close; the other half goes on.
  shutdown(a1.fd.get(), SHUT_WR);
  CHECK(read_to_end(two.world, b1.fd.get()).empty());
  write_all(two.world, b1.fd.get(), "late");
  CHECK(read_exactly(two.world, a1.fd.get(), 4) == "late");
  CHECK(two.alice.ended.empty());
  b1.fd.reset();
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == Reason::kClosed));
  CHECK((two.bob.ended[0].reason == Reason::kClosed));
  CHECK(two.alice.ended[0].bytes_out == 5);
  CHECK(two.alice.ended[0].bytes_in == 12);
  CHECK(read_to_end(two.world, a1.fd.get()).empty());
  CHECK(two.alice.events("connection.connected") == 1);  // A13
}

TEST_CASE("a megabyte each way arrives whole, before the end (B6, C1)") {
  Two two;
  auto result = two.alice.open(two.bob, "bulk");
  OpenedChannel& a = opened(result);
  ipc::Fd b = std::move(two.bob.accepted.at(0).fd);
  std::string bytes(3'000'000, ' ');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 % 251);
  std::size_t sent = 0;
  std::string received;
  REQUIRE(two.world.run_until([&] {
    char buffer[65536];
    const ssize_t w = ::send(a.fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (w > 0) sent += static_cast<std::size_t>(w);
    if (sent == bytes.size() && a.fd) a.fd.reset();
    const ssize_t r = ::recv(b.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (r > 0) received.append(buffer, static_cast<std::size_t>(r));
    if (r != 0) two.world.loop.post([] {});  // look again: what the app does makes no turn of our loop
    return r == 0;
  }));
  CHECK((received == bytes));
}

TEST_CASE("B3, B9: declined, and an opener that gives up, harm only that channel") {
  Two two;
  two.bob.accept = false;
  std::vector<OpenResult> results;
  two.alice.open_later(two.bob, "no", results);
  REQUIRE(two.world.run_until([&] { return two.bob.requests.size() == 1; }));
  CHECK((two.bob.requests[0].trust == Trust::kAllowed));
  two.bob.manager->channels().refuse(two.bob.requests[0].channel, Reason::kDeclined, "not today");
  REQUIRE(two.world.run_until([&] { return results.size() == 1; }));
  CHECK((failed(results[0]) == Reason::kDeclined));
  CHECK(std::get<OpenError>(results[0]).text == "not today");

  CHECK((failed(two.alice.open(two.bob, "slow", false, false, kTimeToAsk)) == Reason::kTimedOut));
  REQUIRE(two.world.run_until([&] { return two.bob.cancelled.size() == 1; }));
  CHECK((two.bob.cancelled[0].second == Reason::kTimedOut));
  two.bob.accept = true;
  auto good = two.alice.open(two.bob, "yes");
  CHECK(opened(good).fd);
  CHECK(two.alice.manager->connection_count() == 1);
}

TEST_CASE("B4: unique opens of one name share one channel") {
  Two two;
  auto first = two.alice.open(two.bob, "u", true);
  auto again = two.alice.open(two.bob, "u", true);
  CHECK(opened(again).joined);
  CHECK_FALSE(opened(again).fd);
  CHECK(opened(again).channel == opened(first).channel);
  auto plain = two.alice.open(two.bob, "u");
  CHECK(opened(plain).channel != opened(first).channel);
}

TEST_CASE("A6: an unknown device is not-found; one that does not answer is no-answer-or-refused") {
  Two two;
  Node::Options options;
  Node carol(two.exchange, 2, options);
  {
    Exchange elsewhere(two.world);
    Node stranger(elsewhere, 3);
    CHECK((failed(two.alice.open(stranger, "x", false, false, 700ms)) == Reason::kNotFound));
  }
  // Carol knows nobody: her policy refuses, and refusal is silence.
  CHECK((failed(two.alice.open(carol, "x", false, false, kTimeToAsk)) == Reason::kNoAnswerOrRefused));
  CHECK(carol.events("request.refused") == 1);
  CHECK(carol.manager->totals().requests_refused == 1);
  CHECK(two.alice.manager->totals().connections_failed == 2);
  CHECK(carol.manager->connection_count() == 0);
  CHECK(two.alice.manager->pending_opens() == 0);
  carol.allow(two.alice);
  auto later = two.alice.open(carol, "x");
  CHECK(opened(later).fd);
}

TEST_CASE("A7: both dial at the same moment: every open succeeds") {
  World world;
  Exchange exchange(world);
  for (int round = 0; round < 10; ++round) {
    Node alice(exchange, 0);
    Node bob(exchange, 1);
    alice.allow(bob);
    bob.allow(alice);
    std::vector<OpenResult> results;
    for (int i = 0; i < 3; ++i) {
      alice.open_later(bob, "a" + std::to_string(i), results);
      bob.open_later(alice, "b" + std::to_string(i), results);
    }
    REQUIRE(world.run_until([&] { return results.size() == 6; }));
    for (OpenResult& result : results) CHECK(opened(result).fd);
    // Each fd really leads to the other side.
    for (OpenResult& result : results) REQUIRE(::send(opened(result).fd.get(), "x", 1, 0) == 1);
    for (Node* node : {&alice, &bob}) {
      REQUIRE(node->accepted.size() == 3);
      for (auto& channel : node->accepted) CHECK(read_exactly(world, channel.fd.get(), 1) == "x");
    }
  }
}

TEST_CASE("A8, A9: repeated requests are handled once; answers from elsewhere mean nothing") {
  Two two;
  Node mallory(two.exchange, 2);
  std::vector<std::pair<proto::DeviceId, proto::ByteVector>> seen;
  int requests = 0;
  two.exchange.filter = [&](const auto& from, const auto& to, const proto::ByteVector& body) {
    const auto request = proto::ConnectionRequest::decode(body);
    REQUIRE(request.ok());
    if (!request->is_answer && from == two.alice.id && ++requests == 1) {
      // Everything comes twice, and Mallory answers first, with the right id.
      two.world.loop.post([&, message = SignalMessage{from, two.alice.public_key, body, true}] {
        two.bob.manager->on_signal(message);
      });
      auto forged = *request;
      forged.is_answer = true;
      two.world.loop.post([&, message = SignalMessage{mallory.id, mallory.public_key, forged.encode(), false}] {
        two.alice.manager->on_signal(message);
      });
      // So does Bob, to what nobody asked.
      ++forged.id;
      two.world.loop.post([&, message = SignalMessage{two.bob.id, two.bob.public_key, forged.encode(), false}] {
        two.alice.manager->on_signal(message);
      });
    }
    (void)to;
    return true;
  };
  auto result = two.alice.open(two.bob, "x");
  CHECK(opened(result).fd);
  CHECK(requests == 1);
  CHECK(two.bob.manager->connection_count() == 1);
  CHECK(two.bob.events("connection.connecting") == 1);
}

TEST_CASE("every second attempt of a row asks for patient checks, by its id's last bit") {
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.times.check = std::chrono::milliseconds(50);
  Node alice(exchange, 0, options);
  Node bob(exchange, 1);
  bob.allow(alice);
  std::vector<std::uint64_t> ids;
  exchange.filter = [&](const auto& from, const auto&, const proto::ByteVector& body) {
    const auto request = proto::ConnectionRequest::decode(body);
    REQUIRE(request.ok());
    if (request->is_answer || from != alice.id) return true;
    if (ids.empty() || ids.back() != request->id) ids.push_back(request->id);
    if (ids.size() > 2) return true;
    // Bob answers, and no way leads to him.
    auto answer = *request;
    answer.is_answer = true;
    answer.ice_text = "ufrag\n0123456789012345678901\n1 1 TCP 5 10.77.0.1 9 typ host tcptype active\n";
    world.loop.post([&, message = SignalMessage{bob.id, bob.public_key, answer.encode(), true}] {
      alice.manager->on_signal(message);
    });
    return false;
  };
  auto result = alice.open(bob, "x");
  CHECK(opened(result).fd);
  REQUIRE(ids.size() == 3);
  CHECK(ids[0] % 2 == 0);
  CHECK(ids[1] % 2 == 1);
  CHECK(ids[2] % 2 == 0);
}

TEST_CASE("a lost request, and a lost answer, are sent again") {
  Two two;
  int dropped = 0;
  two.exchange.filter = [&](const auto&, const auto&, const proto::ByteVector&) { return ++dropped > 2; };
  proto::ConnectTimes times;
  auto result = two.alice.open(two.bob, "x");
  CHECK(opened(result).fd);
  CHECK(dropped >= 4);
}

TEST_CASE("C4, C6: the connection dies: channels end once with the error, a pending open is dialled again") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  two.bob.accept = false;
  std::vector<OpenResult> results;
  two.alice.open_later(two.bob, "pending", results);
  REQUIRE(two.world.run_until([&] { return two.bob.requests.size() == 1; }));
  CHECK(two.bob.manager->close_connections(two.alice.id, Reason::kConnectionLost, "cut by the test") == 1);
  two.bob.accept = true;
  REQUIRE(two.world.run_until([&] { return results.size() == 1; }));
  CHECK(opened(results[0]).fd);
  REQUIRE(two.alice.ended.size() == 1);
  CHECK((two.alice.ended[0].reason == Reason::kConnectionLost));
  CHECK(two.alice.ended[0].channel == opened(result).channel);
  REQUIRE(two.bob.ended.size() == 1);
  CHECK(two.bob.cancelled.size() == 1);
  CHECK(two.alice.manager->connection_count() == 1);
  CHECK(two.alice.manager->totals().opens_redialled == 1);
}

TEST_CASE("C6: an open whose second connection dies too fails, and is not dialled a third time") {
  Two two;
  two.bob.accept = false;
  std::vector<OpenResult> results;
  two.alice.open_later(two.bob, "pending", results);
  for (const std::size_t asked : {1U, 2U}) {
    REQUIRE(two.world.run_until([&] { return two.bob.requests.size() == asked; }));
    CHECK(two.bob.manager->close_connections(two.alice.id, Reason::kConnectionLost, "cut by the test") == 1);
  }
  REQUIRE(two.world.run_until([&] { return !results.empty() || two.bob.requests.size() > 2; }));
  REQUIRE(results.size() == 1);
  CHECK((failed(results[0]) == Reason::kConnectionLost));
  CHECK(two.bob.requests.size() == 2);
}

TEST_CASE("A2: a certificate that was looked up once is not looked up again") {
  Two two;
  auto first = two.alice.open(two.bob, "x");
  CHECK(opened(first).fd);
  CHECK(two.alice.manager->close_connections(two.bob.id, Reason::kConnectionLost, "cut by the test") == 1);
  REQUIRE(two.world.run_until([&] { return two.bob.manager->connection_count() == 0; }));
  auto second = two.alice.open(two.bob, "y");
  CHECK(opened(second).fd);
  CHECK(two.alice.events("connection.connected") == 2);
  CHECK(two.exchange.lookups == 1);
}

TEST_CASE("C3: strict ends: an app that goes without finishing is a reset to the peer") {
  Two two;
  two.bob.strict = true;
  auto result = two.alice.open(two.bob, "x", false, true);
  OpenedChannel& a = opened(result);
  write_all(two.world, a.fd.get(), "some");
  CHECK(read_exactly(two.world, two.bob.accepted.at(0).fd.get(), 4) == "some");
  a.fd.reset();
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason != Reason::kClosed));
  CHECK((two.bob.ended[0].reason == Reason::kReset));
  CHECK(two.bob.manager->totals().channels_reset == 1);

  auto clean = two.alice.open(two.bob, "y", false, true);
  OpenedChannel& c = opened(clean);
  write_all(two.world, c.fd.get(), "all of it");
  CHECK(two.alice.manager->channels().finish(c.channel));
  CHECK(read_to_end(two.world, two.bob.accepted.at(1).fd.get()) == "all of it");
  CHECK(two.bob.manager->channels().finish(two.bob.accepted.at(1).channel));
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 2 && two.bob.ended.size() == 2; }));
  CHECK((two.alice.ended[1].reason == Reason::kClosed));
  CHECK((two.bob.ended[1].reason == Reason::kClosed));
}

TEST_CASE("C1: an app that stops reading and closes: the sender sees the end") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  OpenedChannel& a = opened(result);
  two.bob.accepted.at(0).fd.reset();
  CHECK(read_to_end(two.world, a.fd.get()).empty());
  // What is written now has nowhere to go.
  (void)::send(a.fd.get(), "x", 1, MSG_NOSIGNAL);
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == Reason::kReset));
}

TEST_CASE("D1: a reader that stands still stops its own channel only, within the bound") {
  Two two;
  auto stuck = two.alice.open(two.bob, "stuck");
  auto fine = two.alice.open(two.bob, "fine");
  const std::string chunk(65'536, 's');
  std::size_t accepted_bytes = 0;
  two.world.run_until(
      [&] {
        ssize_t n = 0;
        while ((n = ::send(opened(stuck).fd.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0) {
          accepted_bytes += static_cast<std::size_t>(n);
        }
        return false;
      },
      1s);
  CHECK(accepted_bytes > proto::kInitialWindow);
  CHECK(accepted_bytes < 2 * proto::kMaxWindow);
  write_all(two.world, opened(fine).fd.get(), "quick");
  CHECK(read_exactly(two.world, two.bob.accepted.at(1).fd.get(), 5) == "quick");
  opened(stuck).fd.reset();
  CHECK(read_to_end(two.world, two.bob.accepted.at(0).fd.get()).size() == accepted_bytes);
}

TEST_CASE("F5: banning a connected peer ends its connection now; it is not let in again") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  two.bob.ban(two.alice);
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.bob.ended[0].reason == Reason::kBanned));
  CHECK((failed(two.alice.open(two.bob, "y", false, false, kTimeToAsk)) == Reason::kNoAnswerOrRefused));
  two.alice.ban(two.bob);
  CHECK((failed(two.alice.open(two.bob, "z")) == Reason::kBanned));
}

TEST_CASE("the ICE-request policy: anyone, ask, and nobody there to be asked") {
  World world;
  Exchange exchange(world);
  Node alice(exchange, 0);
  SECTION("anyone") {
    Node::Options options;
    options.policy = IceRequestPolicy::kAnyone;
    Node bob(exchange, 1, options);
    auto result = alice.open(bob, "x");
    CHECK(opened(result).fd);
    CHECK(bob.accepted.size() == 1);
  }
  SECTION("ask") {
    Node::Options options;
    options.policy = IceRequestPolicy::kAsk;
    Node bob(exchange, 1, options);
    std::vector<OpenResult> results;
    alice.open_later(bob, "x", results);
    REQUIRE(world.run_until([&] { return bob.questions.size() == 1; }));
    CHECK(bob.questions[0].device == alice.id);
    CHECK(bob.manager->answer_connection(bob.questions[0].number, true));
    CHECK_FALSE(bob.manager->answer_connection(bob.questions[0].number, true));
    REQUIRE(world.run_until([&] { return results.size() == 1; }));
    CHECK(opened(results[0]).fd);
    bob.answers_questions = false;
    Node carol(exchange, 2);
    CHECK((failed(carol.open(bob, "x", false, false, kTimeToAsk)) == Reason::kNoAnswerOrRefused));
  }
}

TEST_CASE("F7: on a connection that we dialled to an unknown peer, its requests come with that trust") {
  Two two;
  auto result = two.alice.open(two.bob, "x");
  two.alice.accept = false;
  std::vector<OpenResult> results;
  two.bob.open_later(two.alice, "back", results);
  REQUIRE(two.world.run_until([&] { return two.alice.requests.size() == 1; }));
  CHECK((two.alice.requests[0].trust == Trust::kUnknown));
  two.alice.manager->channels().refuse(two.alice.requests[0].channel, Reason::kNotPermitted, {});
  REQUIRE(two.world.run_until([&] { return results.size() == 1; }));
  CHECK((failed(results[0]) == Reason::kNotPermitted));
}

TEST_CASE("E4: an idle connection is closed after its time, and opened again on demand") {
  World world;
  Exchange exchange(world);
  Node::Options options;
  options.limits.idle_time = 300ms;
  Node alice(exchange, 0, options);
  Node bob(exchange, 1);
  bob.allow(alice);
  auto result = alice.open(bob, "x");
  opened(result).fd.reset();
  bob.accepted.at(0).fd.reset();
  REQUIRE(
      world.run_until([&] { return alice.manager->connection_count() == 0 && bob.manager->connection_count() == 0; }));
  CHECK(alice.ended.at(0).reason == Reason::kClosed);
  auto again = alice.open(bob, "y");
  CHECK(opened(again).fd);
}

TEST_CASE("E4: also a connection that took long to come up is closed when idle") {
  World world;
  Exchange exchange(world);
  Node::Options options;
  options.limits.idle_time = 300ms;
  Node alice(exchange, 0, options);
  Node bob(exchange, 1);
  bob.allow(alice);
  proto::ByteVector answer;
  exchange.filter = [&](const auto& from, const auto&, const proto::ByteVector& body) {
    if (from == bob.id) answer = body;
    return from != bob.id;
  };
  std::vector<OpenResult> results;
  alice.open_later(bob, "x", results);
  REQUIRE(world.run_until([&] { return !answer.empty(); }));
  Timer late(world.loop, [&] { alice.manager->on_signal({bob.id, bob.public_key, answer, false}); });
  late.arm_in(1500ms);  // longer than between two looks at the connections
  REQUIRE(world.run_until([&] { return results.size() == 1; }));
  opened(results[0]).fd.reset();
  bob.accepted.at(0).fd.reset();
  CHECK(
      world.run_until([&] { return alice.manager->connection_count() == 0 && bob.manager->connection_count() == 0; }));
}

TEST_CASE("A12: shutting down while connecting: every open gets its error, once") {
  Two two;
  std::vector<OpenResult> results;
  two.exchange.filter = [](const auto&, const auto&, const auto&) { return false; };
  for (int i = 0; i < 5; ++i) two.alice.open_later(two.bob, "x", results);
  bool done = false;
  two.alice.manager->shut_down([&] { done = true; });
  REQUIRE(two.world.run_until([&] { return done; }));
  REQUIRE(results.size() == 5);
  for (const OpenResult& result : results) CHECK((failed(result) == Reason::kShuttingDown));
}

TEST_CASE("C3: strict ends: an app that finishes and then closes without taking the peer's end is not waited for") {
  Two two;
  auto result = two.alice.open(two.bob, "x", false, true);
  OpenedChannel& a = opened(result);
  write_all(two.world, a.fd.get(), "all of it");
  CHECK(two.alice.manager->channels().finish(a.channel));
  // Bob has our EOF, and goes on in his direction.
  CHECK(read_to_end(two.world, two.bob.accepted.at(0).fd.get()) == "all of it");
  a.fd.reset();
  REQUIRE(two.world.run_until([&] { return two.alice.ended.size() == 1 && two.bob.ended.size() == 1; }));
  CHECK((two.alice.ended[0].reason == Reason::kCancelled));
  CHECK((two.bob.ended[0].reason == Reason::kReset));
}

TEST_CASE("a peer's refusal with the code of a clean end is a refusal, and leaves nothing behind") {
  Two two;
  two.bob.accept = false;
  std::vector<OpenResult> results;
  two.alice.open_later(two.bob, "no", results);
  REQUIRE(two.world.run_until([&] { return two.bob.requests.size() == 1; }));
  two.bob.manager->channels().refuse(two.bob.requests[0].channel, Reason::kClosed, {});
  REQUIRE(two.world.run_until([&] { return results.size() == 1; }));
  CHECK((failed(results[0]) == Reason::kReset));
  CHECK(two.alice.manager->channels().size() == 0);
}

TEST_CASE("a device that comes back without having said good-bye: opens go to its new connection") {
  World world;
  Exchange exchange(world);
  Node bob(exchange, 1);
  Node before(exchange, 0);
  bob.allow(before);
  auto old = before.open(bob, "old");
  CHECK(opened(old).fd);
  // The same device, started again: bob still holds the connection of its former life.
  Node after(exchange, 0);
  auto fresh = after.open(bob, "fresh");
  CHECK(opened(fresh).fd);
  CHECK(bob.manager->connection_count() == 2);
  auto back = bob.open(after, "back");
  CHECK(opened(back).fd);
  CHECK(before.accepted.empty());
  CHECK(after.accepted.size() == 1);
}

TEST_CASE("E4: attempts that come all the time do not put off what is due") {
  std::vector<OpenResult> results;  // before the nodes: what is pending at their end is told, too
  World world;
  Exchange exchange(world);
  Exchange elsewhere(world);
  Node stranger(elsewhere, 3);
  Node::Options options;
  options.limits.idle_time = 300ms;
  options.times.resolve = 40ms;
  Node alice(exchange, 0, options);
  Node bob(exchange, 1);
  bob.allow(alice);
  auto result = alice.open(bob, "x");
  opened(result).fd.reset();
  bob.accepted.at(0).fd.reset();
  Timer again(world.loop, [&] {
    alice.open_later(stranger, "x", results, 100ms);
    again.arm_in(50ms);
  });
  again.arm_in(50ms);
  CHECK(world.run_until([&] { return alice.manager->connection_count() == 0; }));
  CHECK(!results.empty());
}

TEST_CASE("each change of an attempt's and of a connection's state is logged, from -> to") {
  const LogLines log;
  Two two;
  auto result = two.alice.open(two.bob, "x");
  (void)opened(result);
  (void)two.alice.manager->close_connections(two.bob.id, Reason::kClosed, "enough");
  REQUIRE(two.world.run_until(
      [&] { return two.alice.manager->connection_count() + two.bob.manager->connection_count() == 0; }));
  // Of both sides, in the order of their turns.
  auto attempts = log.values("connection=", "attempt=");
  auto states = log.values("connection=", "state=");
  std::sort(attempts.begin(), attempts.end());
  std::sort(states.begin(), states.end());
  CHECK(attempts == std::vector<std::string>{"checking->handshaking", "checking->handshaking", "gathering->checking",
                                             "gathering->offered", "handshaking->ready", "handshaking->ready",
                                             "idle->gathering", "idle->resolving", "offered->checking",
                                             "resolving->gathering"});
  CHECK(states == std::vector<std::string>{"closing->draining", "closing->draining", "draining->down", "draining->down",
                                           "greeting->up", "greeting->up", "handshaking->greeting",
                                           "handshaking->greeting", "up->closing", "up->closing"});
}

TEST_CASE("an attempt that nobody needs any more is logged, too") {
  const LogLines log;
  Two two;
  std::vector<OpenResult> results;
  two.exchange.filter = [](const auto&, const auto&, const auto&) { return false; };
  two.alice.open_later(two.bob, "x", results, 60s);
  REQUIRE(two.world.run_until([&] { return log.values("connection=", "attempt=").size() == 3; }));  // up to offered
  (void)two.alice.manager->close_connections(two.bob.id, Reason::kClosed, {});
  CHECK(log.values("connection=", "attempt=").back() == "offered->abandoned");
}
