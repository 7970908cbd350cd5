// SPDX-License-Identifier: GPL-3.0-or-later
/// Two devices with a control socket each, and a program at each, for tests of the API over a connection.
#pragma once

#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/api_node.h"

namespace connd::test {

/// Two devices that allow each other, and a program at each.
struct Pair {
  explicit Pair(ApiNode::Options alice_options = {}, ApiNode::Options bob_options = {})
      : alice(world, 0, std::move(alice_options)), bob(world, 1, std::move(bob_options)) {
    alice.allow(bob);
    bob.allow(alice);
  }
  bool run_until(const std::function<bool()>& done) { return world.run_until(done); }
  /// Opens `uri` to what `receiver` listens for: both ends.
  std::pair<ipc::ChannelSocket, ipc::ChannelSocket> join(const std::string& uri) {
    auto opened = sender.open(bob, uri);
    REQUIRE(opened.ok());
    REQUIRE(run_until([&] { return !receiver.opened.empty(); }));
    ipc::ChannelSocket other = std::move(receiver.opened.back());
    receiver.opened.pop_back();
    return {std::move(*opened), std::move(other)};
  }

  ApiWorld world;
  ApiNode alice;
  ApiNode bob;
  ApiClient sender{world, alice};
  ApiClient receiver{world, bob};
};

inline void put(const ipc::ChannelSocket& channel, const std::string& text) {
  REQUIRE(::send(channel.fd(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
}
/// Until EOF; nothing when that is an error, or does not come.
inline std::optional<std::string> take_all(Pair& pair, const ipc::ChannelSocket& channel) {
  std::string out;
  ssize_t n = -1;
  const bool ended = pair.run_until([&] {
    char chunk[4'096];
    while ((n = ::recv(channel.fd(), chunk, sizeof chunk, MSG_DONTWAIT)) > 0)
      out.append(chunk, static_cast<std::size_t>(n));
    return n == 0 || errno != EAGAIN;
  });
  if (!ended || n != 0) return std::nullopt;
  return out;
}
inline std::optional<ipc::ChannelEnd> end_of(Pair& pair, const ipc::ChannelSocket& channel) {
  (void)pair.run_until([&] { return channel.end().has_value(); });
  return channel.end();
}
inline ApiNode::Options with_policy(daemon::IceRequestPolicy policy) {
  return {.manager = true, .policy = policy, .ipc = {}};
}
inline ApiNode::Options with_ipc(daemon::IpcSettings settings) {
  return {.manager = true, .policy = daemon::IceRequestPolicy::kTrusted, .ipc = std::move(settings)};
}

}  // namespace connd::test
