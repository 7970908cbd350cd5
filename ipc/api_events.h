// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// What events say, by type: the members of the notification `event` beside those of Event (ipc/PROTOCOL.md, section
/// 8). A reader that knows the type reads them with read_result.
#pragma once

#include "ipc/api.h"
#include "ipc/api_admin.h"

namespace connd::ipc {

/// connection.connecting
struct ConnectingEvent {
  std::uint64_t connection = 0;
  std::string peer;
  Direction direction = Direction::kOutgoing;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("connection", self.connection, kHandleBounds);
    io.required("peer", self.peer);
    io.required("direction", self.direction);
  }
};

enum class AttemptState { kResolving, kGathering, kOffered, kChecking, kHandshaking, kReady, kFailed };
template <>
struct EnumNames<AttemptState> {
  static constexpr std::array<std::pair<std::string_view, AttemptState>, 7> kValues = {{
      {"resolving", AttemptState::kResolving},
      {"gathering", AttemptState::kGathering},
      {"offered", AttemptState::kOffered},
      {"checking", AttemptState::kChecking},
      {"handshaking", AttemptState::kHandshaking},
      {"ready", AttemptState::kReady},
      {"failed", AttemptState::kFailed},
  }};
};
/// connection.progress
struct ProgressEvent {
  std::uint64_t connection = 0;
  std::string peer;
  AttemptState state = AttemptState::kResolving;
  std::uint64_t after_ms = 0;  ///< since the attempt began
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("connection", self.connection, kHandleBounds);
    io.required("peer", self.peer);
    io.required("state", self.state);
    io.required("after_ms", self.after_ms);
  }
};

/// connection.connected
struct ConnectedEvent {
  ConnectionInfo info;
  std::uint64_t after_ms = 0;
  bool first = false;                      ///< this device connects for the first time
  std::optional<std::string> certificate;  ///< its chain as PEM, then
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    ConnectionInfo::fields(io, self.info);
    io.required("after_ms", self.after_ms);
    io.optional("first", self.first);
    io.optional("certificate", self.certificate, Bounds{0, kMaxChainBytes});
  }
};

/// connection.closed
struct ConnectionClosedEvent {
  std::uint64_t connection = 0;
  std::string peer;
  Reason reason = Reason::kInternal;
  std::optional<std::string> detail;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("connection", self.connection, kHandleBounds);
    io.required("peer", self.peer);
    io.required("reason", self.reason);
    io.optional("detail", self.detail);
  }
};

/// connection.failed
struct ConnectionFailedEvent {
  ConnectionClosedEvent end;
  Direction direction = Direction::kOutgoing;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    ConnectionClosedEvent::fields(io, self.end);
    io.required("direction", self.direction);
  }
};

/// channel.closed
struct ChannelClosedEvent {
  ChannelClosed end;
  std::string peer;
  std::string uri;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    ChannelClosed::fields(io, self.end);
    io.required("peer", self.peer);
    io.required("uri", self.uri, kUriBounds);
  }
};

/// network.state
struct NetworkStateEvent {
  DhtState network = DhtState::kDisconnected;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("network", self.network);
  }
};

/// network.reachable
struct NetworkReachableEvent {
  Reachable reachable = Reachable::kUnknown;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("reachable", self.reachable);
  }
};

/// network.changed
struct NetworkChangedEvent {
  std::vector<std::string> addresses;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("addresses", self.addresses);
  }
};

/// trust.changed
struct TrustChangedEvent {
  std::string id;
  TrustKind kind = TrustKind::kDevice;
  Trust trust = Trust::kUnknown;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("id", self.id);
    io.required("kind", self.kind);
    io.required("trust", self.trust);
  }
};

/// identity.ready
struct IdentityReadyEvent {
  std::string device;
  std::string account;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("device", self.device);
    io.required("account", self.account);
  }
};

/// identity.cloned
struct IdentityClonedEvent {
  std::string device;
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("device", self.device);
  }
};

/// request.refused
struct RequestRefusedEvent {
  std::string peer;
  Reason reason = Reason::kInternal;
  std::optional<std::string> detail;
  std::uint64_t count = 0;  ///< of this peer's requests since the last such event
  template <class Io, class Self>
  static void fields(Io& io, Self& self) {
    io.required("peer", self.peer);
    io.required("reason", self.reason);
    io.optional("detail", self.detail);
    io.required("count", self.count);
  }
};

}  // namespace connd::ipc
