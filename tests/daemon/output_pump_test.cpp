// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/output_pump.h"

#include <string>

#include <catch2/catch.hpp>

#include "tests/daemon/connection_parts.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

TEST_CASE("OutputPump: no batch is made while one waits in the link") {
  MemoryWire::Options options;
  options.room = 2'000;
  options.delay = std::chrono::milliseconds(1);
  ConnectionPartsPair pair(options);
  const std::size_t index = pair.open_channel();
  const std::string much(100'000, 'm');
  std::size_t written = 0, most = 0;
  std::string received;
  REQUIRE(pair.run([&] {
    const ssize_t n =
        ::send(pair.alice.fds[index].get(), much.data() + written, much.size() - written, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) written += static_cast<std::size_t>(n);
    most = std::max(most, pair.alice.link.unsent());
    received += read_all(pair.bob.fds[index]);
    return received.size() == much.size();
  }));
  CHECK(received == much);
  CHECK(most > 0);
  CHECK(most < 2 * proto::Mux::kOutputTarget + proto::kMaxFrameBody);
}

TEST_CASE("OutputPump: a link that sends no more is fed nothing, and its mux is kept empty") {
  MemoryWire::Options options;
  options.cut[1] = 2'000;  // breaks when Bob has got so many
  ConnectionPartsPair pair(options);
  const std::size_t index = pair.open_channel();
  REQUIRE(pair.run([&] {
    const std::string some(500, 's');
    (void)::send(pair.alice.fds[index].get(), some.data(), some.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return static_cast<bool>(pair.alice.output.broken());
  }));
  (void)pair.alice.open("for nobody");
  CHECK(pair.alice.mux->has_output());
  const auto more = pair.alice.output.send();
  REQUIRE(more);
  CHECK_FALSE(*more);
  CHECK(pair.alice.mux->output().empty());
}

TEST_CASE("OutputPump: the rest is what the mux has to say, and then the link's end") {
  ConnectionPartsPair pair;
  CHECK(pair.alice.output.all_delivered());
  (void)pair.alice.open("x");
  CHECK_FALSE(pair.alice.output.all_delivered());
  const auto sent = pair.alice.output.send_rest();
  REQUIRE(sent);
  CHECK(*sent);
  CHECK_FALSE(pair.alice.mux->has_output());
  REQUIRE(pair.world.run_until([&] { return pair.bob.asked.size() == 1; }));
}
