// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectAttempt: one attempt to connect with one peer, from the request to the moment when the connection is up. It
/// carries out what proto::ConnectMachine says, with a real IceAgent and a real MultiplexedSocket.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "daemon/connection/multiplexed_socket.h"
#include "daemon/ice/ice_agent.h"
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
    /// The connection is up: take it with take_socket().
    virtual void attempt_done(ConnectAttempt& attempt) = 0;
    virtual void attempt_failed(ConnectAttempt& attempt, const AttemptFailure& failure) = 0;

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
    bool native;  ///< offer our own protocol in TLS
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

  // From the MultiplexedSocket's owner, while the socket is ours.
  void socket_up();
  void socket_down(proto::Reason reason, const std::string& text);
  /// From attempt_done on, until it is taken.
  [[nodiscard]] const MultiplexedSocket* socket() const { return socket_.get(); }
  /// After attempt_done, once.
  [[nodiscard]] std::unique_ptr<MultiplexedSocket> take_socket() { return std::move(socket_); }

  [[nodiscard]] const AttemptId& id() const { return id_; }
  [[nodiscard]] proto::ConnectRole role() const { return machine_.role(); }
  [[nodiscard]] proto::ConnectState state() const { return machine_.state(); }
  [[nodiscard]] proto::TimePoint started() const { return started_; }

 private:
  void feed(proto::ConnectEvent event);
  void perform(proto::ConnectAction action);
  void gather();
  void start_checks();
  void start_tls();
  void fail();
  [[nodiscard]] std::string stage_text(proto::Reason reason) const;

  const Context context_;
  Owner& owner_;
  const AttemptId id_;
  const proto::TimePoint started_;
  proto::ConnectMachine machine_;
  std::optional<proto::IceDescription> remote_;
  PeerKind kind_ = PeerKind::kNative;  ///< once its request or answer is here
  std::string local_text_;
  std::optional<IcePath> path_;
  std::unique_ptr<IceAgent> agent_;
  std::unique_ptr<MultiplexedSocket> socket_;
  std::optional<proto::Reason> failure_reason_;
  std::string failure_text_;
  bool abandoned_ = false;
  Timer timer_;
};

}  // namespace connd::daemon
