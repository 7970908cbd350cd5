// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtSocket: the UDP sockets of the DHT's node, with DhtGate between them and OpenDHT.
///
/// OpenDHT owns the DhtSocket, sends on its own thread, and is given what came on the DhtSocket's receive thread; the
/// daemon's loop asks for counters. All three meet in a DhtPort, which is the DhtSocket's and the daemon's together.
///
/// Threads. This is a place where the daemon's own code has a lock beside Loop::post()'s, and cannot do without: the
/// gate is one state machine for what comes and what goes, and OpenDHT wants to know at once, on its own thread, what
/// became of what it sends. The lock is held for the walk of one batch, some microseconds, never over a callback or
/// anything that may wait.
///
/// What OpenDHT is told of what it sends: what the kernel said, an errno, for what was sent (it takes ENETUNREACH and
/// its like for a node that is gone); 0, "sent", for what the gate holds or drops, which to OpenDHT is as if the
/// network were slow, or had lost it.
#pragma once

#include <opendht.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <opendht/network_utils.h>

#include "ipc/fd.h"
#include "proto/dht_gate.h"

namespace connd::daemon {

struct DhtSocketConfig {
  std::uint16_t port = 0;  ///< 0: any free one, the same for both families if possible
  std::string bind4;       ///< the IPv4 address to bind, empty for all
  std::string bind6;
  dht::InfoHash node_id;  ///< the one that OpenDHT uses
  std::uint32_t network = 0;
  std::vector<std::uint64_t> signed_ids{};  ///< of the signed values that are put for good (DhtGateConfig)
  proto::DhtKeepRules keep{};
};

/// The gate and the descriptors. Thread-safe.
class DhtPort {
 public:
  /// Opens both families, or the one that this machine has. Throws std::runtime_error with a text for the user.
  explicit DhtPort(const DhtSocketConfig& config);

  [[nodiscard]] const dht::SockAddr& bound(sa_family_t family) const { return family == AF_INET6 ? bound6_ : bound4_; }
  [[nodiscard]] proto::DhtGateCounters counters() const;
  [[nodiscard]] proto::DhtGateSizes sizes() const;
  /// The host has another address: what others have proved to the former one they prove again.
  void on_network_changed();

 private:
  friend class DhtSocket;
  [[nodiscard]] int fd_of(sa_family_t family) const { return family == AF_INET6 ? fd6_.get() : fd4_.get(); }
  void wake() const;
  /// With the lock held, after the gate was told something on another thread than the receiver's: it has to wait for
  /// less long, or to hand something on.
  void wake_if_due();

  ipc::Fd fd4_;
  ipc::Fd fd6_;
  dht::SockAddr bound4_;
  dht::SockAddr bound6_;
  ipc::Fd wake_;  ///< eventfd

  mutable std::mutex mutex_;  // guards what follows
  proto::DhtGate gate_;
  proto::TimePoint waits_until_ = proto::kNever;  ///< for when the receiver has set its alarm
};

class DhtSocket final : public dht::net::DatagramSocket {
 public:
  /// Begins to receive at once; what comes before OpenDHT has set its callback is lost.
  explicit DhtSocket(std::shared_ptr<DhtPort> port);
  ~DhtSocket() override;  ///< stops

  int sendTo(const dht::SockAddr& to, const std::uint8_t* data, std::size_t size, bool replied) override;
  bool hasIPv4() const override { return port_->fd_of(AF_INET) >= 0; }
  bool hasIPv6() const override { return port_->fd_of(AF_INET6) >= 0; }
  const dht::SockAddr& getBoundRef(sa_family_t family = AF_UNSPEC) const override { return port_->bound(family); }
  /// OpenDHT gives us no names (Resolver does that, on threads that nobody waits for), and would wait here: literals
  /// alone, all else is not found.
  std::vector<dht::SockAddr> resolve(const std::string& host, const std::string& service) override;
  /// No callback runs after it has returned. Idempotent. Not from the callback.
  void stop() override;

 private:
  struct Batch;
  void run();
  void receive(int fd, Batch& batch, dht::net::PacketList& out);
  void hand_on(dht::net::PacketList passed);
  void add_packet(dht::net::PacketList& out, const dht::SockAddr& from, proto::Bytes bytes);
  void send_now(const std::vector<proto::DhtDatagram>& datagrams);

  std::shared_ptr<DhtPort> port_;  // second owner: DhtClient, for the counters
  std::atomic<bool> stopping_{false};
  std::thread receiver_;
};

}  // namespace connd::daemon
