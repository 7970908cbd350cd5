// SPDX-License-Identifier: GPL-3.0-or-later
// What a peer of another hand sees on the wire: a real connection, whose other end writes its frames by itself.
#include <catch2/catch.hpp>
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
    REQUIRE(world.run_until(condition, 5s));
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
      CHECK(s.node.manager->finish_channel(channel.channel));
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
