// SPDX-License-Identifier: GPL-3.0-or-later
/// PeerConnections: the connections that are up, by peer. It says which one new channels take, ends those that nobody
/// uses, whose peer is trusted no more or whose certificate has expired, and probes those that are in doubt.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/connection/channel_table.h"
#include "daemon/connection/manager_context.h"
#include "daemon/system/sleep_watch.h"
#include "daemon/trust/trust_scope.h"
#include "proto/connect.h"

namespace connd::daemon {

/// Of a device that is allowed by its own entry and shows another account's chain now.
inline constexpr std::string_view kTakenBack = "the account that the peer had when it was met has revoked it";

struct PeerConnection {
  std::unique_ptr<MultiplexedSocket> socket;
  proto::ConnectRole role;
  Trust trust = Trust::kUnknown;
  TrustScope scope;  ///< of the channels that it may open, if it is allowed
  proto::AccountId account;
  proto::TimePoint since;
  proto::TimePoint idle_since;
  std::int64_t valid_until_unix = 0;  ///< the peer's chain
  bool stranded = false;              ///< its own address is not this machine's any more

  [[nodiscard]] bool outgoing() const { return role == proto::ConnectRole::kCaller; }
};

/// Sums of connections that are up or were.
struct ConnectionTotals {
  std::uint64_t connections = 0;
  std::uint64_t bytes_in = 0;  ///< of the ICE streams, framing included
  std::uint64_t bytes_out = 0;
  std::uint64_t tls_records_in = 0;  ///< of application data
  std::uint64_t tls_records_out = 0;
};

/// Lives on the loop's thread. All that it is given outlives it.
class PeerConnections {
 public:
  static constexpr proto::Duration kTick = std::chrono::milliseconds(200);

  struct UniqueChannel {
    MultiplexedSocket* socket = nullptr;
    proto::ChannelHandle channel = 0;
  };

  /// `on_tick` is called each kTick while there is a connection.
  PeerConnections(const ManagerContext& context, const ManagerSettings& settings, const proto::DeviceId& own,
                  KnownChains& chains, ChannelTable& channels, std::function<void()> on_tick);

  /// One that has come up, with its peer's chain.
  PeerConnection& add(std::unique_ptr<MultiplexedSocket> socket, proto::ConnectRole role);
  /// One that is over; the caller destroys it in a later turn.
  std::unique_ptr<MultiplexedSocket> remove(ConnectionNumber number);
  [[nodiscard]] PeerConnection* find(ConnectionNumber number);
  /// It is there.
  [[nodiscard]] const PeerConnection& at(ConnectionNumber number) const { return connections_.at(number); }

  /// Of several connections with one peer both sides prefer the same one: that which the device with the lower id asked
  /// for, and of those the newest. Null: none that takes new channels.
  [[nodiscard]] MultiplexedSocket* usable(const proto::DeviceId& device) const;
  /// A device of the account, or with that short id, that has a usable one; `wanted`, if it is not zero.
  [[nodiscard]] std::optional<proto::DeviceId> usable_device(const proto::AccountId& account,
                                                             const proto::DeviceId& wanted) const;
  /// Whether its peer is of that account, or has that short id.
  [[nodiscard]] bool is_of(const MultiplexedSocket& socket, const proto::AccountId& account) const;
  /// With this peer.
  [[nodiscard]] std::size_t count(const proto::DeviceId& device) const;
  /// On all connections with this peer; those that are asked for count.
  [[nodiscard]] std::size_t channels_with(const proto::DeviceId& device) const;
  /// Where the unique channel of this name is, open or asked for by either side, on a connection other than `besides`.
  /// One that `is_held` counts if there is no other.
  [[nodiscard]] UniqueChannel unique_channel(const proto::DeviceId& device, const std::string& uri,
                                             const MultiplexedSocket* besides,
                                             const std::function<bool(proto::ChannelHandle)>& is_held) const;
  /// Whether add() has had this peer before, as far as that is remembered: at least while it has a connection.
  [[nodiscard]] bool met(const proto::DeviceId& device) const { return peers_.contains(device); }
  /// When the last connection with it ended, if it is remembered.
  [[nodiscard]] std::optional<proto::TimePoint> last_up(const proto::DeviceId& device) const;

  /// Returns how many.
  std::size_t close(const proto::DeviceId& device, proto::Reason reason, std::string_view text);
  /// As MultiplexedSocket::close_drained.
  void close_all_drained(proto::Reason reason, std::string_view text);
  /// Who is banned or revoked now, or allowed no more, loses its connection; channels that the trust does not cover any
  /// more end.
  void trust_changed();
  /// Ends those whose peer's certificate has expired.
  void check_dates();
  /// These are the machine's addresses now. All peers are asked for a sign of life, and connections whose own address
  /// is gone get no new channels.
  void network_changed(const std::vector<std::string>& addresses);
  /// A peer that calls although it has a connection with us may have lost it.
  void probe(const proto::DeviceId& device);

  void each(const std::function<void(const PeerConnection&)>& visit) const;
  [[nodiscard]] std::size_t size() const { return connections_.size(); }
  [[nodiscard]] ConnectionTotals totals() const;
  /// Since the object was made.
  [[nodiscard]] std::uint64_t begun() const { return begun_; }

 private:
  struct Peer {
    std::vector<ConnectionNumber> connections;
    std::optional<proto::TimePoint> last_up{};  ///< when a connection with it was up last, and is no more
  };
  [[nodiscard]] const Peer* peer(const proto::DeviceId& device) const;
  [[nodiscard]] bool is_spare(const PeerConnection& connection) const;
  void judge(PeerConnection& connection);
  void start_ticking();
  void tick();
  void probe_after_sleep();
  void close_idle();

  const ManagerContext& context_;
  const ManagerSettings& settings_;
  const proto::DeviceId own_;
  KnownChains& chains_;
  ChannelTable& channels_;
  /// One that was met stays known for as long as there are few.
  std::unordered_map<proto::DeviceId, Peer> peers_;
  std::unordered_map<ConnectionNumber, PeerConnection> connections_;
  ConnectionTotals past_;  ///< of connections that are gone
  std::uint64_t begun_ = 0;
  const std::function<void()> on_tick_;
  SleepGauge sleep_;
  Timer tick_;
};

}  // namespace connd::daemon
