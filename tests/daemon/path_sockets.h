// SPDX-License-Identifier: GPL-3.0-or-later
/// What tests of daemon/path share: loopback sockets, and a loop that runs until something is so.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "daemon/event_loop/edge_poller.h"
#include "daemon/path/door_sockets.h"
#include "daemon/path/front_door.h"

namespace connd::daemon::test {

/// Runs the loop until `done`, or 60 s.
inline bool run_until(Loop& loop, const std::function<bool()>& done) {
  bool late = false;
  Timer timer(loop, [&] {
    late = true;
    loop.stop();
  });
  timer.arm_in(std::chrono::seconds(60));
  Timer tick(loop, [] {});
  BeforeWait check(loop, [&] {
    if (done()) return loop.stop();
    if (!tick.armed()) tick.arm_in(std::chrono::milliseconds(1));
  });
  Timer again(loop, [&] { again.arm_in(std::chrono::milliseconds(1)); });
  again.arm_in({});
  if (!done()) loop.run();
  return !late;
}

inline proto::IpEndpoint loopback(std::uint16_t port, std::uint8_t last = 1) {
  proto::IpEndpoint out;
  out.address = {127, 0, 0, last};
  out.port = port;
  return out;
}

/// Blocking for reads of at most 5 s.
inline ipc::Fd call(const proto::IpEndpoint& to, std::uint8_t from_last = 1) {
  ipc::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress own = socket_address(loopback(0, from_last));
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own.storage), own.length) == 0);
  const SocketAddress address = socket_address(to);
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0);
  return fd;
}

/// What has come so far; "closed" when the other side has ended.
inline std::string heard(const ipc::Fd& fd) {
  char bytes[4096];
  const ssize_t n = ::recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno == ECONNRESET)) return "closed";
  return n > 0 ? std::string(bytes, static_cast<std::size_t>(n)) : std::string();
}

inline void say(const ipc::Fd& fd, proto::Bytes bytes) {
  REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

}  // namespace connd::daemon::test
