// SPDX-License-Identifier: GPL-3.0-or-later
// What a peer of another hand sees on the wire: a real connection, whose other end writes its frames by itself.
#include <catch2/catch.hpp>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/daemon/raw_device.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using namespace std::chrono_literals;
namespace control = connd::proto::control;
using proto::Reason;

namespace {

constexpr proto::WireId kOurs = 0x8000;  ///< the caller is the TLS server

struct Strangers {
  World world;
  Exchange exchange{world};
  Node node;
  RawDevice raw{exchange, 1};

  explicit Strangers(const Node::Options& options = {}) : node(exchange, 0, options) { node.allow(raw.id); }

  RawDevice::Wire& connected() {
    RawDevice::Wire& wire = raw.call(node);
    raw.greet(wire);
    return wire;
  }
  template <class Condition>
  void wait(const Condition& condition) {
    REQUIRE(world.run_until(condition));
  }
};

}  // namespace

TEST_CASE("fault G1: EOF costs no credit: it goes out when there is none, behind what the credit was for") {
  Strangers s;
  const std::uint64_t credit = GENERATE(0, 5);
  const bool strict = GENERATE(false, true);
  const bool ends_before = GENERATE(false, true);  // than the credit comes
  CAPTURE(credit, strict, ends_before);
  s.node.strict = strict;
  RawDevice::Wire& wire = s.connected();
  wire.say({control::ChannelRequest{"x", kOurs, false}});
  s.wait([&] { return s.node.accepted.size() == 1; });
  Node::Accepted& channel = s.node.accepted[0];
  const auto end = [&] {
    if (strict) {
      CHECK(s.node.manager->channels().finish(channel.channel));
    } else {
      REQUIRE(::shutdown(channel.fd.get(), SHUT_WR) == 0);
    }
  };
  if (credit > 0) write_all(s.world, channel.fd.get(), "bytes");
  if (ends_before) end();
  if (credit > 0) wire.say({control::Window{kOurs, credit}});
  if (!ends_before) {
    s.wait([&] { return wire.come().data.size() == credit; });
    end();
  }
  s.wait([&] { return wire.come().ends == std::vector{kOurs}; });
  CHECK(wire.come().data == (credit > 0 ? "bytes" : ""));
}

TEST_CASE("fault G1: without credit nothing else goes out, and EOF stays behind the bytes that wait for it") {
  Strangers s;
  RawDevice::Wire& wire = s.connected();
  wire.say({control::ChannelRequest{"x", kOurs, false}});
  s.wait([&] { return s.node.accepted.size() == 1; });
  write_all(s.world, s.node.accepted[0].fd.get(), "bytes");
  REQUIRE(::shutdown(s.node.accepted[0].fd.get(), SHUT_WR) == 0);
  wire.say({control::Ping{1}, control::Window{kOurs, 4}, control::Ping{2}});
  s.wait([&] { return wire.come().data == "byte"; });
  wire.say({control::Ping{3}});
  s.wait([&] { return wire.all<control::Pong>().size() == 3; });
  CHECK(wire.come().ends.empty());
  wire.say({control::Window{kOurs, 1}});
  s.wait([&] { return wire.come().ends == std::vector{kOurs}; });
  CHECK(wire.come().data == "bytes");
}

TEST_CASE("fault G2: a unique channel's name is one for all connections with a peer") {
  World world;
  Exchange exchange{world};
  const std::size_t own = GENERATE(0, 1);  // who has the lower id matters for requests that cross alone
  Node node(exchange, own);
  RawDevice raw(exchange, 1 - own);
  node.allow(raw.id);
  RawDevice::Wire& first = raw.call(node);
  raw.greet(first);
  RawDevice::Wire& second = raw.call(node);
  raw.greet(second);
  REQUIRE(world.run_until([&] { return node.events("connection.connected") == 2; }));
  const auto ask = [&](RawDevice::Wire& wire) {
    wire.say({control::Unique{kOurs}, control::ChannelRequest{"u", kOurs, false}, control::Window{kOurs, 1'024}});
  };
  const auto refused = [&](RawDevice::Wire& wire) {
    REQUIRE(world.run_until([&] { return !wire.all<control::Refuse>().empty(); }));
    CHECK(wire.all<control::Refuse>()[0].code == static_cast<std::uint64_t>(Reason::kDuplicate));
    CHECK(wire.all<control::Refuse>()[0].channel == kOurs);
  };

  SECTION("open, by the peer's own request") {
    ask(first);
    REQUIRE(world.run_until([&] { return node.accepted.size() == 1; }));
    ask(second);
    refused(second);
    CHECK(node.accepted.size() == 1);
    // Free again when it is gone.
    first.say({control::Reset{kOurs, 13, {}}});
    REQUIRE(world.run_until([&] { return node.ended.size() == 1; }));
    ask(second);
    REQUIRE(world.run_until([&] { return node.accepted.size() == 2; }));
  }
  SECTION("offered, and not answered yet") {
    node.accept = false;
    ask(first);
    REQUIRE(world.run_until([&] { return node.requests.size() == 1; }));
    ask(second);
    refused(second);
    CHECK(node.requests.size() == 1);
  }
  SECTION("open, by the node's request") {
    std::vector<OpenResult> results;
    std::vector<RawDevice::Wire*> asked;
    OpenRequest request{raw.id, "u", true, {}, 20s};
    (void)node.manager->open(request, [&](OpenResult result) { results.push_back(std::move(result)); });
    REQUIRE(world.run_until(
        [&] {
          for (RawDevice::Wire* wire : {&first, &second}) {
            if (!wire->all<control::ChannelRequest>().empty()) asked.push_back(wire);
          }
          return !asked.empty();
        },
        60s));
    asked[0]->say({control::ChannelRequest{"u", asked[0]->all<control::ChannelRequest>()[0].channel, true},
                   control::Window{1, 1'024}});
    REQUIRE(world.run_until([&] { return results.size() == 1; }));
    CHECK(opened(results[0]).fd);
    RawDevice::Wire& other = asked[0] == &first ? second : first;
    ask(other);
    refused(other);
    CHECK(node.accepted.empty());
  }
}

TEST_CASE("fault G2: who is refused as a duplicate, and knows of no such channel, asks once more") {
  Strangers s;
  RawDevice::Wire& wire = s.connected();
  std::vector<OpenResult> results;
  const OpenRequest request{s.raw.id, "u", true, {}, 20s};
  (void)s.node.manager->open(request, [&](OpenResult result) { results.push_back(std::move(result)); });
  s.wait([&] { return wire.all<control::ChannelRequest>().size() == 1; });
  wire.say({control::Refuse{1, 19, {}, {}}});
  s.wait([&] { return wire.all<control::ChannelRequest>().size() == 2; });
  CHECK(results.empty());
  wire.say({control::Refuse{2, 19, {}, {}}});
  s.wait([&] { return results.size() == 1; });
  CHECK(failed(results[0]) == Reason::kDuplicate);
}

TEST_CASE("fault G4: a peer that breaks the protocol hears of it by goaway, also when it does not read at once") {
  Strangers s;
  RawDevice::Wire& wire = s.connected();
  const bool flood = GENERATE(false, true);
  if (flood) {
    wire.link->pause(true);
    proto::ByteVector frame;
    control::encode(control::Ping{1}, frame);
    proto::ByteVector pings(proto::NativeFrameCodec::kHeaderBytes);
    proto::NativeFrameCodec().write_header(pings.data(), 0, 1'000 * frame.size());
    for (int i = 0; i < 1'000; ++i) pings.insert(pings.end(), frame.begin(), frame.end());
    wire.link->send_plain(pings, 1'000);
    s.wait([&] {
      return s.node.events("connection.closed") == 1 || wire.down || s.node.manager->connection_count() == 0;
    });
    wire.link->pause(false);
  } else {
    wire.say({control::Hello{}});
  }
  s.wait([&] { return wire.down; });
  const auto goaways = wire.all<control::GoAway>();
  REQUIRE(goaways.size() == 1);
  CHECK(goaways[0].code == static_cast<std::uint64_t>(Reason::kProtocolError));
  s.wait([&] { return s.node.events("connection.closed") == 1; });
}

TEST_CASE("fault G4: a peer that says no hello hears by goaway that its time is over") {
  Node::Options options;
  options.times.handshake = kTimeToAsk;
  Strangers s(options);
  RawDevice::Wire& wire = s.raw.call(s.node);
  s.wait([&] { return wire.down; });
  CHECK(wire.up);
  const auto goaways = wire.all<control::GoAway>();
  REQUIRE(goaways.size() == 1);
  CHECK(goaways[0].code == static_cast<std::uint64_t>(Reason::kTimedOut));
  CHECK(s.node.events("connection.failed") == 1);
}

TEST_CASE("fault A7: a native connection is one TCP connection, on each side; with a Jami peer ICE's others stay") {
  const auto connections = [] {
    int count = 0;
    for (int fd = 0; fd < 1'024; ++fd) {
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      const bool connected = ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
      count += connected && (peer.ss_family == AF_INET || peer.ss_family == AF_INET6);
    }
    return count;
  };
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.native = GENERATE(true, false);
  const int before = connections();
  Node alice(exchange, 0, options);
  Node bob(exchange, 1, options);
  bob.allow(alice);
  auto result = alice.open(bob, "x");
  CHECK(opened(result).fd);
  // Of one address a side there are two: each side dials the other's listener.
  CHECK(connections() - before == (options.native ? 2 : 4));
  CHECK(bob.accepted.size() == 1);
}

TEST_CASE("fault G5: hello tells the peer how many channels it may have; one that asks for more is refused") {
  Node::Options options;
  options.limits.max_channels_per_peer = 2;
  Strangers s(options);
  RawDevice::Wire& wire = s.connected();
  CHECK(wire.all<control::Hello>()[0].max_channels == 2);
  for (const proto::WireId id : std::initializer_list<proto::WireId>{0x8000, 0x8001, 0x8002})
    wire.say({control::ChannelRequest{"x", id, false}});
  s.wait([&] { return wire.all<control::Refuse>().size() == 1; });
  CHECK(wire.all<control::Refuse>()[0].channel == kOurs + 2);
  CHECK(wire.all<control::Refuse>()[0].code == static_cast<std::uint64_t>(Reason::kResourceLimit));
  CHECK(s.node.accepted.size() == 2);
}

TEST_CASE("fault F: who asks and is not allowed is told by its whole id, until it is let in or banned") {
  World world;
  Exchange exchange{world};
  Node node(exchange, 0);
  RawDevice raw(exchange, 1);
  CHECK(node.manager->knocks().list().empty());
  raw.call(node);
  REQUIRE(world.run_until([&] { return node.events("request.refused") == 1; }));
  REQUIRE(node.manager->knocks().list().size() == 1);
  CHECK(node.manager->knocks().list()[0].device == raw.id);
  CHECK(node.manager->knocks().list()[0].reason == Reason::kNotPermitted);
  node.allow(raw.id);
  CHECK(node.manager->knocks().list().empty());
}

TEST_CASE("fault F: an open that ends in the middle of an attempt tells what became of the one before") {
  World world;
  Exchange exchange{world};
  Node::Options options;
  options.times.check = 100ms;
  Node node(exchange, 0, options);
  RawDevice raw(exchange, 1);
  // It answers, and there is no path: both behind a NAT look so.
  exchange.outsiders[raw.public_key] = [&](const SignalMessage& message) {
    auto answer = proto::ConnectionRequest::decode(message.body);
    REQUIRE(answer.ok());
    answer->is_answer = true;
    answer->ice_text = "ufrag\n0123456789012345678901\n1 1 TCP 2130706431 127.0.0.1 9 typ host tcptype active\n";
    world.loop.post([&node, &raw, body = answer->encode()] {
      node.manager->on_signal(SignalMessage{raw.id, raw.public_key, body, false, false});
    });
  };
  // Whatever an attempt is doing when the time is over: the second and later ones begin after 100 ms each.
  for (const auto timeout : {1'050ms, 1'700ms}) {
    std::vector<OpenResult> results;
    world.loop.update_now();
    (void)node.manager->open({raw.id, "x", false, {}, timeout}, [&](OpenResult r) { results.push_back(std::move(r)); });
    REQUIRE(world.run_until([&] { return results.size() == 1; }));
    const auto& error = std::get<OpenError>(results[0]);
    CAPTURE(proto::reason_name(error.reason), error.text);
    CHECK(error.reason == Reason::kIceFailed);
    CHECK(error.text.find("the peer has answered") != std::string::npos);
  }
}

TEST_CASE("fault F: of a silent peer it is said what is known of it") {
  World world;
  Exchange exchange{world};
  Node node(exchange, 0);
  RawDevice raw(exchange, 1);
  exchange.outsiders[raw.public_key] = [](const SignalMessage&) {};
  const auto said = [&](std::chrono::milliseconds timeout) {
    std::vector<OpenResult> results;
    world.loop.update_now();
    (void)node.manager->open({raw.id, "x", false, {}, timeout}, [&](OpenResult r) { results.push_back(std::move(r)); });
    REQUIRE(world.run_until([&] { return results.size() == 1; }));
    return std::get<OpenError>(results[0]);
  };
  const OpenError found = said(kTimeToAsk);
  CAPTURE(found.text);
  CHECK(found.reason == Reason::kNoAnswerOrRefused);
  CHECK(found.text.find("its certificate is on the DHT") != std::string::npos);
  exchange.planted.clear();
  const OpenError missing = said(300ms);
  CAPTURE(missing.text);
  CHECK(missing.reason == Reason::kNotFound);
  CHECK(missing.text.find("no certificate of that device is on the DHT") != std::string::npos);
}
