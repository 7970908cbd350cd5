// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionManager: all connections of the device, by peer. It brings them up, keeps one per peer, opens channels on
/// them, and closes them when nobody uses them.
///
/// Reported once: each open gets its callback once, each accepted channel its on_channel_closed once.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "daemon/connection/connect_attempt.h"
#include "daemon/connection/event_hub.h"
#include "daemon/connection/knocks.h"
#include "daemon/connection/known_chains.h"
#include "daemon/connection/left_channels.h"
#include "daemon/connection/pair_keys.h"
#include "daemon/connection/refusal_log.h"
#include "daemon/connection/request_gate.h"
#include "daemon/connection/request_saver.h"
#include "daemon/connection/revocation_sync.h"
#include "daemon/connection/self_notes.h"
#include "daemon/dht/signalling.h"
#include "daemon/system/heap_trim.h"
#include "daemon/trust/stores.h"
#include "proto/signal.h"

namespace connd::daemon {

struct ManagerLimits {
  std::size_t max_connections = 4'096;
  /// Of all connections together; requests of peers that wait for an answer count.
  std::size_t max_channels = proto::kMaxChannels;
  /// With one peer, ours and its own: beyond, its requests are refused. 0: no such bound, it may take all there are.
  std::size_t max_channels_per_peer = 0;
  std::size_t max_pending_opens = 65'536;
  /// Of their names together; they may wait for an hour.
  std::size_t max_open_name_bytes = std::size_t{64} << 20;
  /// Set-ups under way that peers asked for; of them, those by peers that are not allowed.
  std::size_t max_setups = 32;
  std::size_t max_unknown_setups = 4;
  /// A connection without channels is closed after this long.
  proto::Duration idle_time = std::chrono::seconds(300);
  /// A second connection with the same peer, after this long without channels.
  proto::Duration spare_idle_time = std::chrono::seconds(10);
};

struct OpenRequest {
  proto::DeviceId peer;  ///< zero: any device of `account`
  std::string uri;
  bool unique = false;
  ChannelOptions options;
  proto::Duration timeout = std::chrono::seconds(30);
  /// To a device of this account, the first of those announced that connects; or to that whose short id this is.
  std::optional<proto::AccountId> account = std::nullopt;
};
struct OpenedChannel {
  proto::ChannelHandle channel = 0;
  proto::DeviceId device;
  proto::AccountId account;
  std::string uri;
  ipc::Fd fd;           ///< the app's end; none when `joined`
  bool joined = false;  ///< a unique channel that an earlier open got, or will get
  bool half_close = true;
};
struct OpenError {
  proto::Reason reason;
  std::string text;
};
using OpenResult = std::variant<OpenedChannel, OpenError>;
using OpenNumber = std::uint64_t;

/// A peer's request for a channel, as the local side hears of it.
struct IncomingChannel {
  proto::ChannelHandle channel;
  proto::DeviceId device;
  proto::AccountId account;
  Trust trust;  ///< for this uri
  std::string uri;
  bool half_close = true;
};

/// The local side: who listens, and who owns channels.
class ChannelApps {
 public:
  /// Answer by accept_channel or refuse_channel, at once or later.
  virtual void on_channel_requested(const IncomingChannel& request) = 0;
  virtual void on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) = 0;
  virtual void on_channel_closed(const ChannelEnd& end) = 0;
  /// Whether the local side may have asked for finish_channel in a way that was not read yet.
  [[nodiscard]] virtual bool finish_may_come(proto::ChannelHandle /*channel*/) const { return false; }

 protected:
  ~ChannelApps() = default;
};

/// Sums since the manager was made, of connections that are up or were.
struct ManagerTotals {
  std::uint64_t connections = 0;
  std::uint64_t bytes_in = 0;  ///< of the ICE streams, framing included
  std::uint64_t bytes_out = 0;
  std::uint64_t tls_records_in = 0;  ///< of application data
  std::uint64_t tls_records_out = 0;
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
struct ChannelView {
  proto::ChannelHandle channel;
  proto::DeviceId device;
  proto::AccountId account;
  const std::string& uri;
  bool outgoing;
  std::uint64_t bytes_in;
  std::uint64_t bytes_out;
  proto::TimePoint since;
};

/// Of a device that is allowed by its own entry and shows another account's chain now.
inline constexpr std::string_view kTakenBack = "the account that the peer had when it was met has revoked it";

/// Connections whose peer's certificate has expired meanwhile are ended this late, at most.
inline constexpr proto::Duration kDatesInterval = std::chrono::hours(1);

class ConnectionManager final : private MultiplexedSocket::Owner, private ConnectAttempt::Owner {
 public:
  struct Context {
    ConnectionContext connections;
    GlibBridge& bridge;
    Signalling& signalling;
    Stores& stores;
    EventHub& events;
    ChannelApps& apps;
    ConnectionAsker& asker;
  };
  struct Settings {
    ManagerLimits limits;
    proto::MuxConfig mux;
    proto::ConnectTimes times;
    IceConfig ice;
    GateSettings gate;
    bool native = true;  ///< off: to everybody this device looks like one of Jami's; for tests
    /// When this device's own chain is valid, for what people are told.
    std::optional<proto::Validity> own_validity = std::nullopt;
    /// SubjectPublicKeyInfo, DER; empty: other daemons with this device's identity are not looked for.
    proto::ByteVector own_public_key{};
    proto::ByteVector own_chain{};  ///< in DER; for those who do not know us yet
    KnownChains::Clock clock{};     ///< seconds since 1970; another than the machine's, for tests
  };

  /// `identity`'s device id is ours; `tls` presents it.
  ConnectionManager(const Context& context, const Settings& settings, proto::DeviceId own, proto::TlsContext tls);
  ~ConnectionManager();

  /// Limits and the gate's settings, from now on: what is there already may be more than a new limit. Mux, times and
  /// ICE stay as they were.
  void set_settings(const Settings& settings);

  // ---- channels ----

  /// Opens a channel, and a connection if there is none. Either an error now, or a number, and `done` later, once.
  std::variant<OpenNumber, OpenError> open(OpenRequest request, std::function<void(OpenResult)> done);
  /// Takes an open back: its `done` is called with the reason, from here. False when it is not pending.
  bool cancel_open(OpenNumber open, proto::Reason reason);
  /// The app's end, or why not (the peer took it back; no fd).
  std::variant<ipc::Fd, OpenError> accept_channel(proto::ChannelHandle channel, const ChannelOptions& options);
  void refuse_channel(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);
  /// Gives a channel that was opened or accepted detached the daemon's end of what its app has. An error: it has ended,
  /// or the fd cannot be watched.
  proto::Result<void> attach_channel(proto::ChannelHandle channel, ipc::Fd fd);
  bool finish_channel(proto::ChannelHandle channel);
  bool close_channel(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);

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
  void dates_changed() { check_dates(); }
  /// These are the machine's addresses now. All peers are asked for a sign of life, and connections whose own address
  /// is gone get no new channels.
  void network_changed(const std::vector<std::string>& addresses);
  /// From the Signalling.
  void on_signal(const SignalMessage& message);
  /// The local client's answer to a connection question.
  bool answer_connection(std::uint64_t question, bool accept) { return gate_.answer(question, accept); }
  /// Ends everything: opens and channels get kShuttingDown, and nothing new begins. Connections close as soon as their
  /// peers have what is queued for them, shortly (MultiplexedSocket::close_drained); `done` then, in a later turn.
  void shut_down(std::function<void()> done);

  // ---- for status ----

  void each_connection(const std::function<void(const ConnectionView&)>& visit) const;
  /// The same of one that is up.
  void see_connection(ConnectionNumber number, const std::function<void(const ConnectionView&)>& visit) const;
  void each_channel(const std::function<void(const ChannelView&)>& visit) const;
  /// The same of one, if it is open.
  void see_channel(proto::ChannelHandle handle, const std::function<void(const ChannelView&)>& visit) const;
  /// When the DHT was asked about the revocations of an account, and answered, for the account least lately asked for.
  [[nodiscard]] std::optional<proto::TimePoint> revocations_as_of() const { return revocations_.oldest_answer(); }
  /// Accounts whose revocations are more than the DHT takes.
  [[nodiscard]] std::vector<proto::AccountId> too_many_revocations() const { return revocations_.too_long(); }
  /// When another daemon with this device's identity was last heard of, if there is one.
  [[nodiscard]] std::optional<proto::TimePoint> clone_seen() const { return self_notes_.last_seen(); }
  [[nodiscard]] ManagerTotals totals() const;
  /// Who asked for a connection lately, and was turned away.
  [[nodiscard]] const Knocks& knocks() const { return knocks_; }
  [[nodiscard]] std::size_t connection_count() const { return connections_.size(); }
  [[nodiscard]] std::size_t channel_count() const { return channels_.size(); }
  [[nodiscard]] std::size_t pending_opens() const { return opens_.size(); }

 private:
  struct Connection {
    std::unique_ptr<MultiplexedSocket> socket;
    proto::ConnectRole role;
    Trust trust = Trust::kUnknown;
    TrustScope scope;  ///< of the channels that it may open, if it is allowed
    proto::AccountId account;
    proto::TimePoint since;
    proto::TimePoint idle_since;
    std::int64_t valid_until_unix = 0;  ///< the peer's chain
    bool stranded = false;              ///< its own address is not this machine's any more
    std::set<OpenNumber> opens;         ///< that wait for the peer's answer
  };
  struct PendingOpen {
    OpenRequest request;
    std::function<void(OpenResult)> done;
    proto::TimePoint deadline;
    /// Devices of an account that are being tried; empty once one of them is `request.peer`.
    std::set<proto::DeviceId> candidates;
    bool searching = false;            ///< for devices of the account
    std::optional<OpenError> failure;  ///< of a device of the account; others are still tried
    ConnectionNumber connection = 0;   ///< 0: waits for one
    proto::ChannelHandle channel = 0;
    bool redialled = false;
    bool asked_again = false;  ///< after a refusal as a duplicate
    std::size_t name_bytes = 0;
  };
  /// By what a device that is called is known: all that there is to say of one that does not answer.
  enum class KnownBy : std::uint8_t { kNothing, kStore, kCertificate, kAnnouncement };
  struct Peer {
    std::vector<ConnectionNumber> connections;
    ConnectionNumber dialling = 0;                 ///< the attempt that we make as caller
    std::set<OpenNumber> waiting;                  ///< opens without a connection
    std::optional<proto::ShortDeviceId> short_id;  ///< where it is known: Jami's devices may publish under it alone
    proto::ByteVector public_key;                  ///< where the search for its account, or for its short id, found it
    unsigned failures = 0;                         ///< attempts failed in a row
    proto::TimePoint retry_at = proto::kNever;
    AttemptFailure last_failure{proto::Reason::kTimedOut, {}, false};  ///< while there are `failures`
    bool met = false;                           ///< connection.connected with its certificate was reported
    KnownBy known_by = KnownBy::kNothing;       ///< as the last attempt found it
    std::optional<proto::TimePoint> last_up{};  ///< when a connection with it was up last, and is no more
  };
  /// Where an attempt's requests or answers go.
  struct Target {
    SignalTarget to;
    bool by_pair_first = false;  ///< the next message goes to the pair keys alone
    bool chain_next = true;      ///< the next request to public keys carries our chain
  };
  /// Opens that all go on at one moment, from what they waited for.
  struct Released {
    std::set<OpenNumber> opens;
    std::function<void(OpenNumber)> step;

    OpenNumber take() { return opens.extract(opens.begin()).value(); }
  };
  struct UniqueChannel {
    MultiplexedSocket* socket = nullptr;
    proto::ChannelHandle channel = 0;
  };
  /// A peer's unique request that waits until ours for that name has its answer.
  struct HeldRequest {
    ConnectionNumber connection;
    std::string uri;
  };
  /// A channel that exists, or a request that waits for the local side.
  struct ChannelRecord {
    ConnectionNumber connection;  ///< 0: it is one of left_
    proto::DeviceId device;
    proto::AccountId account;
    std::string uri;
    bool outgoing;
    bool accepted;
    proto::TimePoint since;
  };

  // MultiplexedSocket::Owner
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
  void on_going_away(MultiplexedSocket& socket) override;
  void on_down(MultiplexedSocket& socket, proto::Reason reason, const std::string& text,
               std::error_code error) override;

  // ConnectAttempt::Owner
  void attempt_resolves(ConnectAttempt& attempt) override;
  void attempt_signals(ConnectAttempt& attempt, const std::string& ice_text, bool is_answer) override;
  void attempt_moved(ConnectAttempt& attempt, proto::ConnectState state) override;
  void attempt_done(ConnectAttempt& attempt) override;
  void attempt_failed(ConnectAttempt& attempt, const AttemptFailure& failure) override;

  // opens (connection_manager_opens.cpp)
  void place(OpenNumber number);
  void place_waiting(const proto::DeviceId& device);
  void go_on(Released released);
  void run_opens();
  void search_devices(OpenNumber number);
  void device_found(OpenNumber number, const FoundDevice& found);
  void search_over(OpenNumber number);
  [[nodiscard]] OpenError nothing_found() const;
  void settle_on(OpenNumber number, const proto::DeviceId& device);
  void candidate_failed(OpenNumber number, const proto::DeviceId& device, const AttemptFailure& failure);
  void leave_peers(OpenNumber number, const PendingOpen& open);
  [[nodiscard]] std::optional<proto::DeviceId> connected_device(const proto::AccountId& account,
                                                                const proto::DeviceId& wanted) const;
  [[nodiscard]] std::optional<proto::DeviceId> met_device(const proto::AccountId& id,
                                                          const proto::DeviceId& wanted) const;
  [[nodiscard]] bool is_of(const MultiplexedSocket& socket, const proto::AccountId& account) const;
  void wait_for_connection(OpenNumber number);
  void wait_for(OpenNumber number, const proto::DeviceId& device);
  void accepted(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel, MultiplexedSocket& socket);
  void deliver(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel, MultiplexedSocket& socket,
               proto::Result<ipc::Fd> fd);
  void fail_later(OpenNumber number, OpenResult result);
  void give_up_dialling(const proto::DeviceId& device);
  void complete(OpenNumber number, OpenResult result);
  void fail_waiting(const proto::DeviceId& device, const AttemptFailure& failure);
  bool ask_again(OpenNumber number, proto::Reason reason);
  void redial_or_fail(OpenNumber number, proto::Reason reason, const std::string& text);
  void expire_opens();
  bool end_open(OpenNumber number, OpenError error);
  [[nodiscard]] OpenError timed_out(const PendingOpen& open) const;
  [[nodiscard]] const Peer* awaited_peer(const PendingOpen& open) const;
  [[nodiscard]] AttemptFailure explained(const proto::DeviceId& device, AttemptFailure failure) const;
  [[nodiscard]] OpenError silence_of(const Peer* peer, proto::Reason reason) const;
  [[nodiscard]] proto::Reason whose_fault(proto::Reason reason) const;
  void leave_connection(OpenNumber number, PendingOpen& open);

  // unique channels over several connections (connection_manager_unique.cpp)
  [[nodiscard]] UniqueChannel unique_channel(const proto::DeviceId& device, const std::string& uri,
                                             const MultiplexedSocket* besides) const;
  bool crosses_ours(MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri);
  void take_held(OpenNumber number);
  void offer_held();
  void drop_held(ConnectionNumber connection);

  // connections and attempts
  void dial(const proto::DeviceId& device);
  void resolved(ConnectionNumber number, std::optional<proto::ByteVector> public_key, bool banned);
  [[nodiscard]] Trust trust_of(const proto::DeviceId& device, const proto::ByteVector& public_key);
  void drop_requests(ConnectionNumber connection, proto::Reason reason);
  void on_request(const SignalMessage& message, proto::ConnectionRequest request);
  void on_answer(const SignalMessage& message, const proto::ConnectionRequest& request);
  void answer_request(const SignalMessage& message, const proto::ConnectionRequest& request, Trust trust);
  [[nodiscard]] SignalTarget to_answer(const SignalMessage& message);
  void repeat_answer(ConnectAttempt& attempt, const SignalMessage& message);
  void launch(std::unique_ptr<ConnectAttempt> attempt);
  void drop_attempt(ConnectionNumber number, proto::Reason reason, std::string_view text);
  void abandon_attempt(ConnectionNumber number, proto::Reason reason);
  void publish_failed(const ConnectAttempt& attempt, proto::Reason reason, std::string_view text);
  [[nodiscard]] bool room_for_setup(Trust trust) const;
  [[nodiscard]] ConnectAttempt* callee_attempt(const proto::DeviceId& peer, std::uint64_t request_id) const;
  MultiplexedSocket* usable(const proto::DeviceId& device) const;
  [[nodiscard]] std::size_t channels_with(const proto::DeviceId& device) const;
  [[nodiscard]] bool is_spare(const Connection& connection) const;
  void close_idle();
  void check_dates();
  void end_uncovered(ConnectionNumber connection, const TrustScope& before, const TrustScope& now);
  [[nodiscard]] std::int64_t unix_now() const { return settings_.clock(); }
  void probe_connections(const proto::DeviceId& device);
  void probe_after_sleep();
  void start_ticking();
  void on_tick();
  void trim_heap();
  /// Connections, channels and opens.
  [[nodiscard]] std::size_t living() const { return connections_.size() + channels_.size() + opens_.size(); }
  static void add_to(ManagerTotals& totals, const MultiplexedSocket& socket);
  void soon();
  void run_later();
  [[nodiscard]] bool shutting_down() const { return shutting_down_; }
  void refused(const proto::DeviceId& device, proto::Reason reason, std::string_view text);
  void turn_away(const proto::DeviceId& device, std::uint64_t request, std::string_view text);
  bool waits_for_room(const proto::DeviceId& device, std::uint64_t request);
  void forget_peer_if_unused(const proto::DeviceId& device);
  void left_channel_ended(const ChannelEnd& end);
  void count_end(const ChannelEnd& end);
  void see(proto::ChannelHandle handle, const ChannelRecord& record,
           const std::function<void(const ChannelView&)>& visit) const;
  [[nodiscard]] const ChannelSocket* channel_of(proto::ChannelHandle handle, const ChannelRecord& record) const;

  Context context_;
  Settings settings_;
  const proto::DeviceId own_;
  const proto::TlsContext tls_;
  const ConnectAttempt::Context attempts_context_;
  KnownChains chains_;
  RequestGate gate_;
  RequestSaver request_saver_;
  RevocationSync revocations_;
  std::mt19937_64 random_;
  PairKeys pair_keys_;
  SelfNotes self_notes_;

  std::unordered_map<proto::DeviceId, Peer> peers_;
  std::unordered_map<ConnectionNumber, Connection> connections_;
  std::unordered_map<ConnectionNumber, std::unique_ptr<ConnectAttempt>> attempts_;
  /// Public keys to encrypt requests and answers to, by attempt.
  std::unordered_map<ConnectionNumber, Target> targets_;
  /// When requests were refused for want of room, by device and request.
  std::map<std::pair<proto::DeviceId, std::uint64_t>, proto::TimePoint> turned_away_;
  RefusalLog refusal_log_;
  std::set<ConnectionNumber> unknown_setups_;  ///< attempts that peers which are not allowed asked for
  std::unordered_map<OpenNumber, PendingOpen> opens_;
  std::set<std::pair<proto::TimePoint, OpenNumber>> deadlines_;
  std::unordered_map<proto::ChannelHandle, std::vector<OpenNumber>> opening_;  ///< opens that a channel resolves
  std::unordered_map<proto::ChannelHandle, ChannelRecord> channels_;
  LeftChannels left_;
  std::unordered_map<proto::ChannelHandle, HeldRequest> held_;  ///< at most one per connection and unique open of ours
  std::vector<OpenNumber> takers_;                              ///< opens that get what is held, in a later turn

  // What a callback must not destroy under its own feet goes here until a later turn.
  std::vector<std::unique_ptr<MultiplexedSocket>> dead_sockets_;
  std::vector<std::unique_ptr<ConnectAttempt>> dead_attempts_;
  /// Of attempts that failed behind TLS: their peers are told why, for kDrainTime at most.
  std::unordered_map<ConnectionNumber, std::unique_ptr<MultiplexedSocket>> leaving_;
  Knocks knocks_;
  ManagerTotals past_;               ///< of connections that are gone
  std::size_t open_name_bytes_ = 0;  ///< of the pending ones
  OpenNumber next_open_ = 1;
  std::deque<std::pair<OpenNumber, OpenResult>> failed_opens_;
  std::deque<Released> released_;  ///< too many for one turn
  std::function<void()> shut_down_done_;
  bool shutting_down_ = false;
  HeapTrim heap_trim_;
  std::chrono::nanoseconds tick_begun_{};                 ///< by a clock that goes on while the machine is suspended
  Timer tick_;                                            ///< each kTick while there is anything to look after
  Timer deadline_;                                        ///< the next open's
  Timer soon_;                                            ///< empties the graveyard
  Timer dates_timer_;                                     ///< certificates expire while they are in use
};

}  // namespace connd::daemon
