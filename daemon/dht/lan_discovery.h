// SPDX-License-Identifier: GPL-3.0-or-later
/// LanDiscovery: finds the DHT's nodes of the local network, and tells them of ours, as OpenDHT's nodes do.
///
/// OpenDHT would do it on sockets of its own and a thread, with a parser that takes whatever comes; so it is off there.
/// The format and the manner are OpenDHT's: who comes up asks the group ("q") and announces itself to it; who is asked
/// answers the asker alone. Nobody announces regularly, so we ask again, too, while we know nobody.
///
/// Strangers on the LAN can make us ping addresses, at most kLanPingsPerSecond, and only addresses of a network that
/// this machine is on: what comes from elsewhere was sent to us and not to the group. On the loop's thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/socket.h>

#include "daemon/event_loop/loop.h"
#include "daemon/system/resolver.h"
#include "ipc/fd.h"
#include "proto/dht_discovery.h"
#include "proto/token_bucket.h"

namespace connd::daemon {

/// Nodes handed on, after a burst of kLanBurst: a LAN of that many nodes is known at once, and more of them one by one.
inline constexpr unsigned kLanPingsPerSecond = 2;
inline constexpr unsigned kLanBurst = 16;
/// Answers to the question who is there, beyond a burst of kLanBurst.
inline constexpr unsigned kLanAnswersPerSecond = 2;
/// Datagrams looked at in one turn of the loop; more wait in the socket's buffer, or are lost there.
inline constexpr unsigned kLanDatagramsPerTurn = 16;
/// Interfaces whose group is joined; a machine with more has them for its containers.
inline constexpr std::size_t kMaxLanInterfaces = 16;
/// A node that was handed on is not handed on again before this.
inline constexpr proto::Duration kLanSameNode = std::chrono::seconds(10);

struct LanDiscoveryConfig {
  std::array<std::uint8_t, 20> node_id{};
  std::uint32_t network = 0;
  std::uint16_t port4 = 0;  ///< of our node; 0: it is not announced in that family
  std::uint16_t port6 = 0;
};

struct LanDiscoveryCounters {
  std::uint64_t received = 0;
  std::uint64_t nodes = 0;    ///< handed on
  std::uint64_t dropped = 0;  ///< not in the format, from elsewhere, or beyond a rate
};

class LanDiscovery {
 public:
  /// `found` is called with the address of another node, port included, from the loop; it must not destroy this.
  LanDiscovery(Loop& loop, const LanDiscoveryConfig& config, std::function<void(const SocketAddress&)> found);
  LanDiscovery(const LanDiscovery&) = delete;
  LanDiscovery& operator=(const LanDiscovery&) = delete;

  /// Joins the group on what interfaces there are now, asks who is there, and announces us. At the start, when
  /// addresses have changed, and again while nobody is known. A machine without a network is not an error.
  void ask();

  [[nodiscard]] const LanDiscoveryCounters& counters() const { return counters_; }

 private:
  struct Interface {
    unsigned index = 0;
    int family = 0;
    std::array<std::uint8_t, 16> address{};
    unsigned prefix_bits = 0;
  };
  struct Seen {
    SocketAddress address;
    proto::TimePoint at{};
  };
  struct Family {
    ipc::Fd fd;
    SocketAddress group;
    proto::ByteVector announcement;  ///< empty: nothing to announce
    std::vector<unsigned> joined;    ///< interfaces
    std::unique_ptr<Poll> poll;
  };

  void open(Family& family, int domain, const char* group, std::uint16_t port);
  void join(Family& family, unsigned interface);
  static void send(const Family& family, proto::Bytes bytes, const SocketAddress& to, unsigned interface);
  void on_readable(Family& family);
  /// False: it is of no use.
  bool on_datagram(Family& family, proto::Bytes datagram, const SocketAddress& from);
  [[nodiscard]] bool is_near(const SocketAddress& from) const;
  bool is_new(const SocketAddress& node);

  Loop& loop_;
  const LanDiscoveryConfig config_;
  std::function<void(const SocketAddress&)> found_;
  std::vector<Interface> interfaces_;
  Family v4_;
  Family v6_;
  proto::TokenBucket pings_{kLanBurst, kLanPingsPerSecond, loop_.now()};
  proto::TokenBucket answers_{kLanBurst, kLanAnswersPerSecond, loop_.now()};
  std::deque<Seen> seen_;  ///< at most kLanBurst + kLanPingsPerSecond x kLanSameNode
  LanDiscoveryCounters counters_;
};

}  // namespace connd::daemon
