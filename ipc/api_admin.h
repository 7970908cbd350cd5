// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// The local API's methods and notifications about the daemon, connections, trust, policy and events as structs; as
/// ipc/api.h for channels.
#pragma once

#include <string>
#include <vector>

#include "ipc/api.h"
#include "ipc/api_trust.h"

namespace connd::ipc {

// ---- daemon.status

enum class DaemonState { kStarting, kReady, kStopping };
template <>
struct EnumNames<DaemonState> {
  static constexpr std::array<std::pair<std::string_view, DaemonState>, 3> kValues = {{
      {"starting", DaemonState::kStarting},
      {"ready", DaemonState::kReady},
      {"stopping", DaemonState::kStopping},
  }};
};
enum class DhtState { kDisconnected, kConnecting, kConnected };
template <>
struct EnumNames<DhtState> {
  static constexpr std::array<std::pair<std::string_view, DhtState>, 3> kValues = {{
      {"disconnected", DhtState::kDisconnected},
      {"connecting", DhtState::kConnecting},
      {"connected", DhtState::kConnected},
  }};
};
/// Whether peers can reach this device by the DHT: as the last test of the daemon's own says.
enum class Reachable { kUnknown, kYes, kNo };
template <>
struct EnumNames<Reachable> {
  static constexpr std::array<std::pair<std::string_view, Reachable>, 3> kValues = {{
      {"unknown", Reachable::kUnknown},
      {"yes", Reachable::kYes},
      {"no", Reachable::kNo},
  }};
};
enum class IceRequestPolicy { kTrusted, kAnyone, kAsk };
template <>
struct EnumNames<IceRequestPolicy> {
  static constexpr std::array<std::pair<std::string_view, IceRequestPolicy>, 3> kValues = {{
      {"trusted", IceRequestPolicy::kTrusted},
      {"anyone", IceRequestPolicy::kAnyone},
      {"ask", IceRequestPolicy::kAsk},
  }};
};
struct DhtStatus {
  DhtState state = DhtState::kDisconnected;
  std::uint64_t port = 0;   ///< UDP; 0 until bound
  std::uint64_t nodes = 0;  ///< good nodes in the routing tables
  std::vector<std::string> bootstrap;
  bool lan_discovery = true;
  Reachable reachable = Reachable::kUnknown;
  double reachable_for_s = 0;            ///< since when `reachable` is what it is
  std::optional<double> last_reached_s;  ///< how long ago a test succeeded; absent: none has
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("state", self.state);
    io.required("port", self.port, Bounds{0, 65535});
    io.required("nodes", self.nodes);
    io.required("bootstrap", self.bootstrap);
    io.required("lan_discovery", self.lan_discovery);
    io.optional("reachable", self.reachable);
    io.optional("reachable_for_s", self.reachable_for_s);
    io.optional("last_reached_s", self.last_reached_s);
  }
};
struct DaemonCounts {
  std::uint64_t connections = 0;
  std::uint64_t channels = 0;
  std::uint64_t clients = 0;
  std::uint64_t listeners = 0;
  std::uint64_t pending_opens = 0;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("connections", self.connections);
    io.required("channels", self.channels);
    io.required("clients", self.clients);
    io.required("listeners", self.listeners);
    io.required("pending_opens", self.pending_opens);
  }
};
/// What a local user has of the daemon.
struct UserStatus {
  std::uint64_t uid = 0;
  std::uint64_t clients = 0;
  std::uint64_t channels = 0;
  std::uint64_t pending_opens = 0;
  std::uint64_t listeners = 0;
  double time_s = 0;            ///< of the daemon's one thread, spent on its clients
  std::uint64_t held_back = 0;  ///< times that its clients waited because it had had its share of the time
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("uid", self.uid);
    io.required("clients", self.clients);
    io.required("channels", self.channels);
    io.required("pending_opens", self.pending_opens);
    io.required("listeners", self.listeners);
    io.required("time_s", self.time_s);
    io.required("held_back", self.held_back);
  }
};
/// A device that asked for a connection lately, and is not allowed.
struct TurnedAway {
  std::string peer;
  Reason reason = Reason::kNotPermitted;  ///< of the last time
  std::uint64_t count = 0;                ///< requests, since it is among those that are shown
  double last_s = 0;                      ///< how long ago the last one was
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("peer", self.peer);
    io.required("reason", self.reason);
    io.required("count", self.count);
    io.required("last_s", self.last_s);
  }
};
struct DaemonStatus {
  std::string version;
  std::uint64_t pid = 0;
  double uptime_s = 0;
  DaemonState state = DaemonState::kStarting;
  std::optional<std::string> device;
  std::optional<std::string> account;
  std::optional<std::string> ca;
  DhtStatus dht;
  std::uint64_t port = 0;                     ///< TCP, of the daemon's own: for peers and firewalls; 0: none yet
  std::vector<std::string> public_addresses;  ///< "ADDRESS:PORT" that this is seen as from outside, as far as known
  DaemonCounts counts;
  IceRequestPolicy ice_request = IceRequestPolicy::kTrusted;
  Json limits = Json::object();         ///< name -> number
  Json metrics = Json::object();        ///< name -> number
  std::vector<std::string> problems;    ///< what is degraded, one clause each
  std::vector<UserStatus> users;        ///< those that have clients; for administrators
  std::vector<TurnedAway> turned_away;  ///< the newest first, a few; for administrators
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("version", self.version);
    io.required("pid", self.pid);
    io.required("uptime_s", self.uptime_s);
    io.required("state", self.state);
    io.optional("device", self.device);
    io.optional("account", self.account);
    io.optional("ca", self.ca);
    io.required("dht", self.dht);
    io.optional("port", self.port, Bounds{0, 65535});
    io.optional("public_addresses", self.public_addresses);
    io.required("counts", self.counts);
    io.required("ice_request", self.ice_request);
    io.required("limits", self.limits);
    io.required("metrics", self.metrics);
    io.required("problems", self.problems);
    io.optional("users", self.users);
    io.optional("turned_away", self.turned_away);
  }
};

// ---- connections

enum class ConnectionState { kConnecting, kConnected, kClosing };
template <>
struct EnumNames<ConnectionState> {
  static constexpr std::array<std::pair<std::string_view, ConnectionState>, 3> kValues = {{
      {"connecting", ConnectionState::kConnecting},
      {"connected", ConnectionState::kConnected},
      {"closing", ConnectionState::kClosing},
  }};
};
enum class Dialect { kNative, kJami };
template <>
struct EnumNames<Dialect> {
  static constexpr std::array<std::pair<std::string_view, Dialect>, 2> kValues = {{
      {"native", Dialect::kNative},
      {"jami", Dialect::kJami},
  }};
};
struct ConnectionInfo {
  std::uint64_t connection = 0;
  std::string peer;
  std::string account;  ///< empty until the peer's certificate is known
  ConnectionState state = ConnectionState::kConnecting;
  Direction direction = Direction::kOutgoing;
  Trust trust = Trust::kUnknown;
  std::uint64_t channels = 0;
  double age_s = 0;
  std::optional<Dialect> dialect;            ///< once connected
  std::optional<std::string> local_address;  ///< "ADDRESS:PORT" of the selected path
  std::optional<std::string> remote_address;
  std::optional<std::string> path;  ///< how it came about: "host", "mapped", "punched", "relayed"
  std::optional<double> rtt_ms;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("connection", self.connection, kHandleBounds);
    io.required("peer", self.peer);
    io.required("account", self.account);
    io.required("state", self.state);
    io.required("direction", self.direction);
    io.required("trust", self.trust);
    io.required("channels", self.channels);
    io.required("age_s", self.age_s);
    io.optional("dialect", self.dialect);
    io.optional("local_address", self.local_address);
    io.optional("remote_address", self.remote_address);
    io.optional("path", self.path);
    io.optional("rtt_ms", self.rtt_ms);
    io.required("bytes_in", self.bytes_in);
    io.required("bytes_out", self.bytes_out);
  }
};
struct ConnectionListResult {
  std::vector<ConnectionInfo> connections;
  std::optional<std::string> next{};  ///< `after` of the next page, if there is one
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("connections", self.connections);
    io.optional("next", self.next);
  }
};
struct PeerParams {
  std::string peer;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("peer", self.peer, kPeerBounds);
  }
};
struct ConnectionCloseResult {
  std::uint64_t closed = 0;  ///< connections that were closed
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("closed", self.closed);
  }
};
/// Notification connection.request, to the owner of the policy.
struct ConnectionRequested {
  std::uint64_t request = 0;
  std::string peer;
  std::string account;
  Trust trust = Trust::kUnknown;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("request", self.request, kHandleBounds);
    io.required("peer", self.peer);
    io.required("account", self.account);
    io.required("trust", self.trust);
  }
};
/// A peer's request that waits for an answer, as connection.requests has it.
struct PendingConnection {
  std::uint64_t request = 0;
  std::string peer;
  std::string account;  ///< empty where it is not known
  double age_s = 0;
  double left_s = 0;  ///< until it is declined
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("request", self.request, kHandleBounds);
    io.required("peer", self.peer);
    io.required("account", self.account);
    io.required("age_s", self.age_s);
    io.required("left_s", self.left_s);
  }
};
struct ConnectionRequestsResult {
  std::vector<PendingConnection> requests;  ///< the oldest first
  bool registered = false;                  ///< a client is there that is asked; without one nobody is
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("requests", self.requests);
    io.required("registered", self.registered);
  }
};
/// Of connection.accept and connection.decline.
struct RequestParams {
  std::uint64_t request = 0;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("request", self.request, kHandleBounds);
  }
};

// ---- events

struct SubscribeParams {
  bool stream = false;  ///< connections and channels come in events.snapshot
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.optional("stream", self.stream);
  }
};
/// Notification events.snapshot: a part of what there is, as of sequence number `seq`.
struct SnapshotPart {
  std::uint64_t seq = 0;
  std::vector<ConnectionInfo> connections{};
  std::vector<ChannelInfo> channels{};
  bool done = false;  ///< it was the last
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("seq", self.seq);
    io.optional("connections", self.connections);
    io.optional("channels", self.channels);
    io.required("done", self.done);
  }
};
/// Result of events.subscribe: all there is, as of sequence number `seq`; without items where they come as a stream.
struct Snapshot {
  std::uint64_t seq = 0;
  bool ready = false;
  DhtState network = DhtState::kDisconnected;
  Reachable reachable = Reachable::kUnknown;
  std::vector<ConnectionInfo> connections;
  std::vector<ChannelInfo> channels;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("seq", self.seq);
    io.required("ready", self.ready);
    io.required("network", self.network);
    io.optional("reachable", self.reachable);
    io.required("connections", self.connections);
    io.required("channels", self.channels);
  }
};
/// What every notification `event` has; the members of its type stand beside these.
struct Event {
  std::uint64_t seq = 0;
  std::string type;
  double time = 0;  ///< seconds since 1970, UTC
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("seq", self.seq);
    io.required("type", self.type, kNameBounds);
    io.required("time", self.time);
  }
};
/// Notification events.lost.
struct EventsLost {
  std::uint64_t seq = 0;   ///< of the last event that was lost
  std::uint64_t lost = 0;  ///< how many
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("seq", self.seq);
    io.required("lost", self.lost);
  }
};

}  // namespace connd::ipc
