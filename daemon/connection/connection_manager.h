// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionManager: all connections of the device, by peer. It brings them up, keeps one per peer, opens channels on
/// them, and closes them when nobody uses them. This class is what the rest of the daemon sees of them; the parts have
/// what there is to know:
///   Opens                opens that wait, for a connection or for the peer's answer
///   Connector            attempts to connect, of both sides
///   ConnectionRequests   whom we answer at all
///   PeerConnections      what is up, which one new channels take, and when it ends
///   ChannelTable         one record for each channel
///
/// Reported once: each open gets its callback once, each accepted channel its on_channel_closed once.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/connection/connection_requests.h"
#include "daemon/connection/opens.h"
#include "daemon/connection/revocation_sync.h"
#include "daemon/connection/self_notes.h"
#include "daemon/system/heap_trim.h"
#include "proto/signal.h"

namespace connd::daemon {

/// Sums since the manager was made, of connections that are up or were.
struct ManagerTotals : ConnectionTotals {
  std::uint64_t connections_failed = 0;     ///< attempts that did not become connections
  std::uint64_t connections_timed_out = 0;  ///< the peer answered no keepalive
  std::uint64_t requests_refused = 0;       ///< of peers, for connections
  std::uint64_t opens_redialled = 0;        ///< their connection died under them
  std::uint64_t channels_reset = 0;
  std::uint64_t channels_stalled = 0;
};

struct ConnectionView {
  const MultiplexedSocket* socket = nullptr;  ///< one of these two
  const ConnectAttempt* attempt = nullptr;
  bool outgoing = false;
  bool closing = false;
  Trust trust = Trust::kUnknown;
  proto::AccountId account;
  proto::TimePoint since;
};

class ConnectionManager final : private MultiplexedSocket::Owner, private Connector::Owner {
 public:
  using Context = ManagerContext;
  using Settings = ManagerSettings;

  /// `identity`'s device id is ours; `tls` presents it.
  ConnectionManager(const Context& context, const Settings& settings, proto::DeviceId own, proto::TlsContext tls);

  /// Limits and the gate's settings, from now on: what is there already may be more than a new limit. Mux, times and
  /// ICE stay as they were.
  void set_settings(const Settings& settings);

  // ---- channels ----

  /// Opens a channel, and a connection if there is none. Either an error now, or a number, and `done` later, once.
  std::variant<OpenNumber, OpenError> open(OpenRequest request, std::function<void(OpenResult)> done) {
    return opens_.open(std::move(request), std::move(done));
  }
  /// Takes an open back: its `done` is called with the reason, from here. False when it is not pending.
  bool cancel_open(OpenNumber open, proto::Reason reason) { return opens_.cancel(open, reason); }
  /// What becomes of channels and of peers' requests for them.
  [[nodiscard]] ChannelTable& channels() { return channels_; }
  [[nodiscard]] const ChannelTable& channels() const { return channels_; }

  // ---- connections ----

  /// Closes all connections with a device, those that are being made included; returns how many. Opens that are pending
  /// get kCancelled.
  std::size_t close_connections(const proto::DeviceId& device, proto::Reason reason, std::string_view text);
  /// A device was allowed or banned by its own entry, which is to know what it was when it was met.
  Outcome<void> remember(const proto::DeviceId& device) { return chains_.remember(device); }
  /// Trust or revocation lists changed: who is banned or revoked now, or allowed no more, loses its connection.
  void trust_changed();
  /// Revocation lists were added or removed here: as trust_changed, and they are put on the DHT.
  void lists_changed();
  /// Dates and clocks are looked at now, not only each kDatesInterval.
  void dates_changed();
  /// As PeerConnections::network_changed.
  void network_changed(const std::vector<std::string>& addresses) { connections_.network_changed(addresses); }
  /// From the Signalling.
  void on_signal(const SignalMessage& message);
  /// The local client's answer to a connection question.
  bool answer_connection(std::uint64_t question, bool accept) { return requests_.answer(question, accept); }
  /// Ends everything: opens and channels get kShuttingDown, and nothing new begins. Connections close as soon as their
  /// peers have what is queued for them, shortly (MultiplexedSocket::close_drained); `done` then, in a later turn.
  void shut_down(std::function<void()> done);

  // ---- for status ----

  void each_connection(const std::function<void(const ConnectionView&)>& visit) const;
  /// The same of one that is up.
  void see_connection(ConnectionNumber number, const std::function<void(const ConnectionView&)>& visit) const;
  /// When the DHT was asked about the revocations of an account, and answered, for the account least lately asked for.
  [[nodiscard]] std::optional<proto::TimePoint> revocations_as_of() const { return revocations_.oldest_answer(); }
  /// Accounts whose revocations are more than the DHT takes.
  [[nodiscard]] std::vector<proto::AccountId> too_many_revocations() const { return revocations_.too_long(); }
  /// When another daemon with this device's identity was last heard of, if there is one.
  [[nodiscard]] std::optional<proto::TimePoint> clone_seen() const { return self_notes_.last_seen(); }
  [[nodiscard]] ManagerTotals totals() const;
  /// Who asked for a connection lately, and was turned away.
  [[nodiscard]] const Knocks& knocks() const { return requests_.knocks(); }
  [[nodiscard]] std::size_t connection_count() const { return connections_.size(); }
  [[nodiscard]] std::size_t pending_opens() const { return opens_.size(); }

 private:
  // MultiplexedSocket::Owner
  void on_secured(MultiplexedSocket& socket) override { connector_.socket_secured(socket); }
  void on_up(MultiplexedSocket& socket) override;
  void on_channel_requested(MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri,
                            bool unique) override;
  void on_open_answered(MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason,
                        const std::string& text) override;
  void on_request_cancelled(MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason) override;
  void on_channel_closed(MultiplexedSocket& socket, const ChannelEnd& end) override;
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle channel) const override {
    return context_.apps.finish_may_come(channel);
  }
  void on_channel_left(MultiplexedSocket& socket, std::unique_ptr<ChannelSocket>& channel) override;
  void on_down(MultiplexedSocket& socket, proto::Reason reason, const std::string& text,
               std::error_code error) override;

  // Connector::Owner
  void connected(std::unique_ptr<MultiplexedSocket> socket, proto::ConnectRole role, proto::Duration after) override;
  void call_failed(const proto::DeviceId& device, const AttemptFailure& failure) override;
  bool call_is_wanted(const proto::DeviceId& device, const AttemptFailure& failure) override;
  void bury_soon() override;

  void offer_held();
  void on_tick();
  void run_later();

  const Context context_;
  Settings settings_;
  const proto::DeviceId own_;
  KnownChains chains_;
  RevocationSync revocations_;
  PairKeys pair_keys_;
  SelfNotes self_notes_;
  ChannelTable channels_;
  PeerConnections connections_;
  Connector connector_;
  ConnectionRequests requests_;
  HeldRequests held_;
  Opens opens_;

  /// What a callback must not destroy under its own feet goes here until a later turn.
  std::vector<std::unique_ptr<MultiplexedSocket>> dead_sockets_;
  std::uint64_t timed_out_ = 0;  ///< connections whose peer answered no keepalive
  std::function<void()> shut_down_done_;
  HeapTrim heap_trim_;
  Timer soon_;         ///< empties the graveyard
  Timer dates_timer_;  ///< certificates expire while they are in use
};

}  // namespace connd::daemon
