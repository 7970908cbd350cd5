// SPDX-License-Identifier: GPL-3.0-or-later
/// Resolver: host names to addresses, and nobody waits for a nameserver.
///
/// getaddrinfo has no time limit of its own: one dead nameserver makes it last 10 to 40 s. libuv's pool has four
/// threads, which do the daemon's other work, too, and the end of a loop waits for them. So each name has a thread of
/// its own here, which nobody joins: it owns what it uses together with this object, and when it comes back after this
/// object or the loop has gone, its result is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/event_loop/loop.h"

namespace connd::daemon {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

/// Of one of this family: AF_INET or AF_INET6.
inline socklen_t length_of_address(int family) {
  return family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

/// Threads at one time: a dead nameserver takes this many stacks and no more. Further names wait for one of them.
inline constexpr std::size_t kMaxNamesUnderWay = 8;
/// Names that wait; more fail at once. A bootstrap list has a handful.
inline constexpr std::size_t kMaxNamesWaiting = 64;
/// Addresses taken of one name.
inline constexpr std::size_t kMaxAddressesPerName = 16;

/// The addresses of a literal, or nothing: `host` is a name. Never waits.
std::vector<SocketAddress> numeric_addresses(const std::string& host, const std::string& port);

class Resolver {
 public:
  using Addresses = std::vector<SocketAddress>;
  using Done = std::function<void(const Addresses&)>;
  /// What asks; runs on a thread that nothing waits for, so that it must own all it uses.
  using Ask = std::function<Addresses(const std::string& host, const std::string& port)>;

  /// Tests pass an `ask` of their own; without one it is getaddrinfo for datagrams.
  explicit Resolver(Loop& loop, Ask ask = {});
  /// Forgets all that is under way, without waiting. Before the loop goes.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// `done` is called once, in a later turn of the loop, with what was found: nothing, when there is no such name,
  /// nobody to ask, or too many names wait already. It may destroy the resolver.
  void resolve(std::string host, std::string port, Done done);

  [[nodiscard]] std::size_t under_way() const { return under_way_.size(); }

 private:
  struct Shared;
  struct Name {
    std::string host;
    std::string port;
    Done done;
  };
  void begin(Name name);
  void on_answer(std::uint64_t id, const Addresses& addresses);

  Loop& loop_;
  Ask ask_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Done> under_way_;  ///< here and not in the threads: what a callback holds belongs to the loop
  std::deque<Name> waiting_;
  std::shared_ptr<Shared> shared_;  // second owners: the threads
};

}  // namespace connd::daemon
