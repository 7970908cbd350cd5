// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectAttempt: one attempt to connect with one peer, from the request to the moment when the connection is up. It
/// carries out what proto::ConnectMachine says, with a real IceAgent and a real MultiplexedSocket.
///
/// Between two jami-connd there are two ways at once, ICE's and that through the front doors (path/puncher.h), and each
/// may find paths. The TLS client decides among them: it begins TLS on the first, and on another one when that is not
/// secured soon; the first that is secured it takes, lets the others go, and says its hello there alone. The server
/// has TLS ready on each, and takes the one on which the hello comes. So both take the same.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/connection/multiplexed_socket.h"
#include "daemon/ice/ice_agent.h"
#include "daemon/path/doors.h"
#include "daemon/path/puncher.h"
#include "daemon/trust/stores.h"
#include "proto/connect.h"
#include "proto/ice_description.h"

namespace connd::daemon {

/// Whom an attempt is for, and by what the two sides know it.
struct AttemptId {
  ConnectionNumber number;   ///< of the connection that it is to become
  std::uint64_t request_id;  ///< the connection request's
  proto::DeviceId peer;
};

/// What the peer's request or answer says that it is.
enum class PeerKind : std::uint8_t { kNative, kJami };

/// Paths of one attempt on which TLS is, or may be: ICE's, and of the doors' the first ones.
inline constexpr std::size_t kMaxRacers = 4;
/// The client gives the first path so long for TLS before it begins on the next one: two handshakes cost twice, and
/// only a path that carries no more than its first packets needs a second.
inline constexpr proto::Duration kRaceDelay = std::chrono::milliseconds(300);

struct AttemptFailure {
  proto::Reason reason;
  std::string text;
  bool worth_retrying;
};

class ConnectAttempt {
 public:
  class Owner {
   public:
    /// Look the peer's certificate up, then call on_certificate.
    virtual void attempt_resolves(ConnectAttempt& attempt) = 0;
    /// Put the request, or the answer, with this ICE text on the DHT. May come again: one put may be lost.
    virtual void attempt_signals(ConnectAttempt& attempt, const std::string& ice_text, bool is_answer) = 0;
    /// The state changed, for logs and events: it was `before`.
    virtual void attempt_moved(ConnectAttempt& attempt, proto::ConnectState before) = 0;
    /// The connection is up: take it with take_sockets().
    virtual void attempt_done(ConnectAttempt& attempt) = 0;
    virtual void attempt_failed(ConnectAttempt& attempt, const AttemptFailure& failure) = 0;
    /// One of several paths is down, the attempt goes on: destroy the socket in a later turn.
    virtual void attempt_let_go(std::unique_ptr<MultiplexedSocket> socket) = 0;

   protected:
    ~Owner() = default;
  };

  struct Context {
    const ConnectionContext& connections;
    GlibBridge& bridge;
    const proto::TlsContext& tls;
    const IceConfig& ice;
    const proto::MuxConfig& mux;
    const Stores& stores;
    MultiplexedSocket::Owner& socket_owner;
    bool native;   ///< offer our own protocol in TLS
    Doors* doors;  ///< null: ICE alone
  };

  /// As caller.
  ConnectAttempt(const Context& context, Owner& owner, const AttemptId& id, const proto::ConnectTimes& times);
  /// As callee: the peer's description came with its request.
  ConnectAttempt(const Context& context, Owner& owner, const AttemptId& id, const proto::ConnectTimes& times,
                 proto::IceDescription remote, PeerKind kind);

  /// Begins. From here on the owner's functions are called, the first from inside this call, and each may destroy the
  /// attempt.
  void start();
  /// `by_pair`: the first request goes by pair keys alone.
  void on_certificate(bool found, bool by_pair = false);
  /// The peer's answer. Ignored when it is not awaited (a second one, or after a failure).
  void on_answer(const proto::IceDescription& remote, PeerKind kind);
  /// The peer will not do: it is banned, or what came of it is no answer.
  void reject(proto::Reason reason, std::string text);
  /// Nobody wants it any more: none of the owner's functions is called from now on.
  void abandon();
  /// The request came again: the answer may have been lost.
  void repeat_answer();

  // From the MultiplexedSocket's owner, while the socket is one of ours.
  void socket_secured(const MultiplexedSocket& socket);
  void socket_up(const MultiplexedSocket& socket);
  void socket_down(const MultiplexedSocket& socket, proto::Reason reason, const std::string& text);
  /// From attempt_done on, until it is taken.
  [[nodiscard]] const MultiplexedSocket* socket() const { return racers_.empty() ? nullptr : racers_.front().get(); }
  /// After attempt_done, once: the one that is up. After a failure: what there is.
  [[nodiscard]] std::vector<std::unique_ptr<MultiplexedSocket>> take_sockets() { return std::exchange(racers_, {}); }
  /// Whether on_answer() would make anything of an answer.
  [[nodiscard]] bool awaits_answer() const;

  [[nodiscard]] const AttemptId& id() const { return id_; }
  [[nodiscard]] proto::ConnectRole role() const { return machine_.role(); }
  [[nodiscard]] proto::ConnectState state() const { return machine_.state(); }
  [[nodiscard]] proto::TimePoint started() const { return started_; }

 private:
  void feed(proto::ConnectEvent event);
  void perform(proto::ConnectAction action);
  void gather();
  void maybe_gathered();
  void start_checks();
  void on_path(IcePath path);
  void on_punched(PunchedPath punched);
  void start_tls();
  void race_on();
  void take_winner(const MultiplexedSocket& socket);
  [[nodiscard]] bool is_racer(const MultiplexedSocket& socket) const;
  void fail();
  [[nodiscard]] std::string stage_text(proto::Reason reason) const;

  const Context context_;
  Owner& owner_;
  const AttemptId id_;
  const proto::TimePoint started_;
  proto::ConnectMachine machine_;
  std::optional<proto::IceDescription> remote_;
  PeerKind kind_ = PeerKind::kNative;  ///< once its request or answer is here
  std::optional<proto::IceDescription> local_;
  std::string local_text_;
  std::optional<MappingProbe::Question> mapping_;
  bool mapping_known_ = false;
  std::deque<IcePath> paths_;  ///< found, and TLS has not begun there
  std::unique_ptr<IceAgent> agent_;
  std::unique_ptr<Puncher> puncher_;
  std::vector<std::unique_ptr<MultiplexedSocket>> racers_;
  std::optional<proto::Reason> failure_reason_;
  std::string failure_text_;
  bool abandoned_ = false;
  Timer timer_;
  Timer race_timer_;
};

}  // namespace connd::daemon
