// SPDX-License-Identifier: GPL-3.0-or-later
// What happens often costs what it costs, however many channels there are: tests/channel_costs.py counts instructions
// in the functions below, with few and with many. Not one of the tests that run by themselves.
#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/memory_device.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {
/// Channels that have fds.
constexpr std::ptrdiff_t kBusy = 50;
}  // namespace

// Each by a name that the counting knows.
extern "C" {

[[gnu::noinline]] void cost_open_one(MemoryPair& pair, const std::string& name) {
  pair.open_and_accept(1, name);
}

[[gnu::noinline]] void cost_end_one(MemoryPair& pair, const std::string& name) {
  const std::size_t before = pair.alice.ends.size();
  REQUIRE(pair.bob.table.close(pair.bob.asked.at(name), proto::Reason::kCancelled, {}));
  REQUIRE(pair.world.run_until([&] { return pair.alice.ends.size() > before && pair.bob.ends.size() > before; }));
}

[[gnu::noinline]] void cost_new_connection(MemoryPair& pair, ConnectionNumber number) {
  pair.connect(number);
}

[[gnu::noinline]] void cost_end_connection(MemoryPair& pair, ConnectionNumber number) {
  pair.bob.sockets.at(number)->close_now(proto::Reason::kCancelled, {});
  REQUIRE(
      pair.world.run_until([&] { return !pair.bob.sockets.contains(number) && !pair.alice.sockets.contains(number); }));
}

/// One small frame on each of the channels that have fds.
[[gnu::noinline]] void cost_frames(MemoryPair& pair) {
  for (auto fd = pair.alice.fds.end() - kBusy; fd != pair.alice.fds.end(); ++fd) {
    REQUIRE(::send(fd->get(), "0123456789", 10, MSG_NOSIGNAL) == 10);
  }
  std::size_t read = 0;
  char chunk[64];
  REQUIRE(pair.world.run_until([&] {
    for (auto fd = pair.bob.fds.end() - kBusy; fd != pair.bob.fds.end(); ++fd) {
      const ssize_t n = ::recv(fd->get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (n > 0) read += static_cast<std::size_t>(n);
    }
    return read == 10 * static_cast<std::size_t>(kBusy);
  }));
}

/// 64 KiB on one of them.
[[gnu::noinline]] void cost_bulk(MemoryPair& pair) {
  static const std::string bytes(65'536, 'b');
  static std::string chunk(65'536, ' ');
  const ipc::Fd& from = pair.alice.fds.back();
  const ipc::Fd& to = pair.bob.fds.back();
  std::size_t sent = 0, read = 0;
  REQUIRE(pair.world.run_until([&] {
    const ssize_t more = ::send(from.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (more > 0) sent += static_cast<std::size_t>(more);
    const ssize_t n = ::recv(to.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (n > 0) read += static_cast<std::size_t>(n);
    return read == bytes.size();
  }));
}

}  // extern "C"

TEST_CASE("costs with many channels", "[.costs]") {
  const char* count = std::getenv("CONND_CHANNELS");
  MemoryPair pair;
  // Without descriptors: so many are not to be had everywhere.
  pair.alice.options.detached = pair.bob.options.detached = true;
  const std::size_t channels = count != nullptr ? std::strtoull(count, nullptr, 10) : 1'000;
  for (std::size_t i = 0; i < channels; ++i) pair.open_and_accept(1, "idle " + std::to_string(i));
  pair.alice.options.detached = pair.bob.options.detached = false;
  for (std::ptrdiff_t i = 0; i < kBusy; ++i) pair.open_and_accept(1, "busy " + std::to_string(i));
  for (std::size_t i = 0; i < 10; ++i) {
    cost_frames(pair);
    cost_bulk(pair);
  }
  pair.alice.options.detached = pair.bob.options.detached = true;
  for (std::size_t i = 0; i < 10; ++i) {
    const std::string name = "one more " + std::to_string(i);
    cost_open_one(pair, name);
    cost_end_one(pair, name);
    cost_new_connection(pair, 10 + i);
    cost_end_connection(pair, 10 + i);
  }
}
