// SPDX-License-Identifier: GPL-3.0-or-later
/// Connector: brings connections up. It calls devices, again after a failure for as long as somebody wants it to, and
/// answers requests that were let in (ConnectionRequests).
///
/// Reported once: each call() ends by connected(), call_failed() or stop_calling().
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/connection/connect_attempt.h"
#include "daemon/connection/open_failure.h"
#include "daemon/connection/pair_keys.h"
#include "daemon/connection/peer_connections.h"
#include "proto/signal.h"

namespace connd::daemon {

/// Lives on the loop's thread. All that it is given outlives it.
class Connector final : private ConnectAttempt::Owner {
 public:
  class Owner {
   public:
    /// A connection is up; its MultiplexedSocket::Owner is told by the same object.
    virtual void connected(std::unique_ptr<MultiplexedSocket> socket, proto::ConnectRole role,
                           proto::Duration after) = 0;
    /// The device is called no more.
    virtual void call_failed(const proto::DeviceId& device, const AttemptFailure& failure) = 0;
    /// An attempt has failed. Whether somebody still wants the device called, and has the time for another attempt.
    virtual bool call_is_wanted(const proto::DeviceId& device, const AttemptFailure& failure) = 0;
    /// Call bury() in a later turn.
    virtual void bury_soon() = 0;

   protected:
    ~Owner() = default;
  };

  /// How a call goes.
  struct Call {
    unsigned failures;                         ///< attempts failed in a row
    AttemptFailure last_failure;               ///< while there are `failures`
    std::optional<proto::ConnectState> state;  ///< of the attempt that is under way
  };

  Connector(const ManagerContext& context, const ManagerSettings& settings, proto::TlsContext tls,
            MultiplexedSocket::Owner& socket_owner, KnownChains& chains, PairKeys& pair_keys,
            PeerConnections& connections, Owner& owner);

  // ---- calls ----

  /// Whether one more connection may come.
  [[nodiscard]] bool has_room() const;
  /// Calls the device, if it is not being called.
  void call(const proto::DeviceId& device);
  [[nodiscard]] bool is_calling(const proto::DeviceId& device) const;
  /// What the search for its account, or for its short id, found: Jami's devices may publish under that alone. It is
  /// kept until the call ends, or stop_calling().
  void learned(const proto::DeviceId& device, const proto::ShortDeviceId& short_id, proto::ByteVector public_key);
  /// Nobody wants it any more.
  void stop_calling(const proto::DeviceId& device);
  [[nodiscard]] std::optional<Call> call_of(const proto::DeviceId& device) const;
  /// As the free function, of a device that is being called.
  [[nodiscard]] OpenError silence_of(const proto::DeviceId& device, proto::Reason reason) const;

  // ---- requests and answers ----

  void on_answer(const SignalMessage& message, const proto::ConnectionRequest& answer);
  /// The attempt that answers this request, if there is one.
  [[nodiscard]] ConnectAttempt* answering(const proto::DeviceId& peer, std::uint64_t request_id) const;
  /// Its request came again, by whatever way.
  void repeat_answer(ConnectAttempt& attempt, const SignalMessage& message);
  /// Answers a request that was let in. Why there is no room for it just now, if so.
  std::optional<std::string_view> answer(const SignalMessage& message, const proto::ConnectionRequest& request,
                                         proto::IceDescription remote, Trust trust);

  // ---- attempts of both kinds ----

  /// As the MultiplexedSocket's owner is told, of one that may be an attempt's. True: it was.
  void socket_secured(const MultiplexedSocket& socket);
  bool socket_up(const MultiplexedSocket& socket);
  bool socket_down(const MultiplexedSocket& socket, proto::Reason reason, const std::string& text,
                   std::error_code error);
  /// Ends those with the device, as if they had failed. Returns how many there were.
  std::size_t end_attempts(const proto::DeviceId& device, std::string_view text);
  /// Who is banned now is called no more, and answered no more.
  void trust_changed();
  /// Ends all. Those whose peers are told why take some time to go.
  void stop();
  /// With nothing of ours on the stack: what has ended is destroyed.
  void bury();
  /// Nothing that has ended is left.
  [[nodiscard]] bool all_buried() const { return leaving_.empty() && dead_sockets_.empty(); }

  void each(const std::function<void(const ConnectAttempt&)>& visit) const;
  /// Attempts that did not become connections.
  [[nodiscard]] std::uint64_t failed() const { return failed_; }

 private:
  struct Called {
    ConnectionNumber attempt = 0;
    std::optional<proto::ShortDeviceId> short_id;
    proto::ByteVector public_key;
    unsigned failures = 0;
    proto::TimePoint retry_at = proto::kNever;
    AttemptFailure last_failure{proto::Reason::kTimedOut, {}, false};
    KnownBy known_by = KnownBy::kNothing;  ///< as the last attempt found it

    [[nodiscard]] bool under_way() const { return attempt != 0 || retry_at != proto::kNever || failures > 0; }
  };
  /// Where an attempt's requests or answers go.
  struct Target {
    SignalTarget to;
    bool by_pair_first = false;  ///< the next message goes to the pair keys alone
    bool chain_next = true;      ///< the next request to public keys carries our chain
  };

  // ConnectAttempt::Owner
  void attempt_resolves(ConnectAttempt& attempt) override;
  void attempt_signals(ConnectAttempt& attempt, const std::string& ice_text, bool is_answer) override;
  void attempt_moved(ConnectAttempt& attempt, proto::ConnectState before) override;
  void attempt_done(ConnectAttempt& attempt) override;
  void attempt_failed(ConnectAttempt& attempt, const AttemptFailure& failure) override;
  void attempt_let_go(std::unique_ptr<MultiplexedSocket> socket) override;

  void dial(const proto::DeviceId& device);
  void resolved(ConnectionNumber number, std::optional<proto::ByteVector> public_key, bool banned);
  void retry();
  void arm();
  void launch(std::unique_ptr<ConnectAttempt> attempt);
  void drop(ConnectionNumber number, proto::Reason reason, std::string_view text);
  void abandon(ConnectionNumber number, proto::Reason reason);
  void publish_failed(const ConnectAttempt& attempt, proto::Reason reason, std::string_view text);
  [[nodiscard]] AttemptFailure explained(const proto::DeviceId& device, AttemptFailure failure) const;
  [[nodiscard]] Trust trust_of(const proto::DeviceId& device, const proto::ByteVector& public_key);
  [[nodiscard]] bool room_for_answer(Trust trust) const;
  [[nodiscard]] SignalTarget to_answer(const SignalMessage& message);

  const ManagerContext& context_;
  const ManagerSettings& settings_;
  const proto::TlsContext tls_;
  const ConnectAttempt::Context attempts_context_;
  KnownChains& chains_;
  PairKeys& pair_keys_;
  PeerConnections& connections_;
  Owner& owner_;
  std::mt19937_64 random_{std::random_device{}()};

  std::unordered_map<proto::DeviceId, Called> calls_;
  std::unordered_map<ConnectionNumber, std::unique_ptr<ConnectAttempt>> attempts_;
  /// Public keys to encrypt requests and answers to, by attempt.
  std::unordered_map<ConnectionNumber, Target> targets_;
  std::set<ConnectionNumber> unknown_setups_;  ///< attempts that peers which are not allowed asked for
  /// Of attempts that failed behind TLS: their peers are told why, for GoodBye::kDrainTime at most.
  std::unordered_map<ConnectionNumber, std::unique_ptr<MultiplexedSocket>> leaving_;
  // What a callback must not destroy under its own feet goes here until a later turn.
  std::vector<std::unique_ptr<MultiplexedSocket>> dead_sockets_;
  std::vector<std::unique_ptr<ConnectAttempt>> dead_attempts_;
  std::uint64_t failed_ = 0;
  Timer retry_;
};

}  // namespace connd::daemon
