// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtBootstrap: gives the DHT's node addresses to begin with, for as long as it needs any: those of the bootstrap
/// list, whose names it has resolved, and those that are found on the LAN.
///
/// OpenDHT would do both by itself, resolving names on its one thread (which does nothing else meanwhile, and whose end
/// the daemon's end waits for), and looking at the LAN through sockets that nothing can stand before.
/// On the loop's thread. Callbacks come from `start` and in later turns, none after the destructor; they must not
/// destroy this.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/dht/lan_discovery.h"
#include "daemon/event_loop/loop.h"
#include "daemon/system/resolver.h"

namespace connd::daemon {

/// Pauses between two rounds while the node knows nobody; the first, and the most that doubling makes of it.
inline constexpr proto::Duration kBootstrapFirstPause = std::chrono::seconds(2);
inline constexpr proto::Duration kBootstrapLastPause = std::chrono::seconds(60);
/// What is asked of the node at its start waits at most this long for the first name to be resolved.
inline constexpr proto::Duration kFirstNameTime = std::chrono::seconds(5);

class DhtBootstrap {
 public:
  struct Place {
    std::string host;
    std::string port;
  };
  struct Callbacks {
    std::function<void(const SocketAddress&)> ping;  ///< the node is to ask there
    /// Once, unless start() said that there is nothing to wait for: an address was found, or none in time.
    std::function<void()> begun;
  };

  DhtBootstrap(Loop& loop, std::vector<Place> places, Callbacks callbacks, Resolver::Ask ask = {});
  DhtBootstrap(const DhtBootstrap&) = delete;
  DhtBootstrap& operator=(const DhtBootstrap&) = delete;

  /// The first round. `lan`: also look at the LAN, for this node. Again for a node that takes the place of the former.
  /// True: literals were given out, or there are no names; false: `begun` comes.
  bool start(const std::optional<LanDiscoveryConfig>& lan);
  /// Whether the node knows anybody; while it does not, there are rounds with growing pauses.
  void set_connected(bool connected);
  /// One more round of the names, since the node knows few others.
  void ask_again();
  /// Addresses of this machine have changed: a round at once, if nobody is known, and the LAN in any case.
  void network_changed();
  void stop();

  /// Hosts that had no address when they were last asked.
  [[nodiscard]] std::vector<std::string> unresolved() const;
  void forget_unresolved();
  [[nodiscard]] LanDiscoveryCounters lan_counters() const { return lan_ ? lan_->counters() : LanDiscoveryCounters{}; }

 private:
  struct State {
    Place place;
    bool under_way = false;
    bool unresolved = false;
  };
  void ask(std::size_t index);
  void on_addresses(std::size_t index, const Resolver::Addresses& addresses);
  void round();
  void begin();

  Loop& loop_;
  std::vector<State> places_;
  Callbacks callbacks_;
  Resolver resolver_;
  std::unique_ptr<LanDiscovery> lan_;
  Timer retry_;
  Timer first_;
  proto::Duration pause_ = kBootstrapFirstPause;
  bool connected_ = false;
  bool begun_ = false;
  bool stopped_ = false;
};

}  // namespace connd::daemon
