// SPDX-License-Identifier: GPL-3.0-or-later
/// The life of one attempt to connect with a peer, as an explicit state machine: what happened goes in, what to do
/// comes out. It does nothing itself and knows no clock.
///
/// The caller (it asked) looks up the peer's certificate, gathers candidates, sends its request and waits for the
/// answer; the callee (it was asked) gathers and sends its answer. From there on both are alike: ICE checks, and
/// knocking at front doors, up to a socket, then TLS, then the peer's hello. The callee may come by the caller's door
/// before its answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "proto/reason.h"
#include "proto/time.h"

namespace connd::proto {

enum class ConnectRole : std::uint8_t { kCaller, kCallee };

enum class ConnectState : std::uint8_t {
  kIdle,
  kResolving,    ///< caller: the peer's certificate is looked up
  kGathering,    ///< ICE collects local candidates
  kOffered,      ///< caller: the request is out, the answer awaited
  kChecking,     ///< ICE looks for a path and hands its socket over
  kHandshaking,  ///< TLS, and the peer's hello
  kReady,
  kFailed,
};
inline constexpr int kConnectStates = 8;
std::string_view to_string(ConnectState state);

enum class ConnectEvent : std::uint8_t {
  kStart,
  kCertificate,    ///< the lookup found it
  kNoCertificate,  ///< the lookup ended without
  kGathered,
  kAnswered,
  kPath,      ///< a way delivered a socket; again for another one
  kBroken,    ///< ICE or TLS failed in a way that a fresh attempt may not
  kRejected,  ///< the peer is not who it should be, or does not speak our protocol
  kUp,        ///< TLS is done and the peer's hello is here
  kTimer,     ///< next_deadline() has come
};
inline constexpr int kConnectEvents = 10;

enum class ConnectAction : std::uint8_t {
  kNone,
  kResolve,
  kGather,
  kSendRequest,
  kSendAnswer,  ///< and start the checks: both sides know each other's candidates
  kStartChecks,
  kStartTls,
  kDeliver,  ///< the connection is up
  kFail,     ///< see failure()
};

/// Time that each stage may take, beside the whole attempt's limit.
struct ConnectTimes {
  Duration total = std::chrono::seconds(30);
  /// As long as the attempt: a lookup that finds nothing is repeated, for a device that has just come up is on the DHT
  /// a moment later, and so is our own way to it.
  Duration resolve = std::chrono::seconds(30);
  /// Between two lookups.
  Duration lookup_pause = std::chrono::milliseconds(500);
  Duration gather = std::chrono::seconds(5);
  /// A request is put again after this long without an answer: one lost put must not cost the open.
  Duration resend = std::chrono::seconds(3);
  /// The same for the first kPairResends times to a peer that has pair keys, at which alone it is put first: it is
  /// worth some more puts to reach a peer that is flooded, and may lose some.
  Duration pair_resend = std::chrono::seconds(1);
  /// A path is found within a second, or the attempt was disturbed and a fresh one is better.
  Duration check = std::chrono::seconds(5);
  Duration handshake = std::chrono::seconds(10);
  /// A Jami peer looks at its checks every half second, nominates late, and learns our answer seconds after we have
  /// found a path.
  Duration patient_check = std::chrono::seconds(10);
  /// It computes Diffie-Hellman parameters for up to 8 s before it can be a TLS server.
  Duration patient_handshake = std::chrono::seconds(20);
};

/// The transition table: state and action for an event, nullopt where the event means nothing (it came late).
struct ConnectStep {
  ConnectState state;
  ConnectAction action;
};
std::optional<ConnectStep> connect_step(ConnectRole role, ConnectState state, ConnectEvent event);

class ConnectMachine {
 public:
  ConnectMachine(ConnectRole role, const ConnectTimes& times, TimePoint now)
      : role_(role), times_(times), attempt_deadline_(now + times.total) {}

  /// The peer is a slow one, a Jami device: its checks and handshake may take longer.
  void be_patient();

  static constexpr unsigned kPairResends = 3;
  /// The first request goes by pair keys alone: those that follow come soon.
  void ask_by_pair_first() { soon_ = kPairResends; }

  /// What to do about `event`.
  ConnectAction on(ConnectEvent event, TimePoint now);

  [[nodiscard]] ConnectRole role() const { return role_; }
  [[nodiscard]] ConnectState state() const { return state_; }
  /// When to come with kTimer.
  [[nodiscard]] TimePoint next_deadline() const;
  /// After kFail: why, by the stage that it failed in. kRejected has its own reason, which the owner knows.
  [[nodiscard]] Reason failure() const { return failure_; }
  /// After kFail: a fresh attempt may do better.
  [[nodiscard]] bool worth_retrying() const { return retry_; }

 private:
  ConnectAction enter(ConnectStep step, TimePoint now);
  ConnectAction fail(bool retry);
  ConnectAction on_timer(TimePoint now);
  [[nodiscard]] std::optional<Duration> stage_time() const;

  ConnectRole role_;
  ConnectTimes times_;
  ConnectState state_ = ConnectState::kIdle;
  TimePoint attempt_deadline_;
  TimePoint stage_deadline_ = kNever;
  TimePoint lookup_at_ = kNever;  ///< the next one; kNever while one is under way
  Reason failure_ = Reason::kInternal;
  bool retry_ = false;
  unsigned soon_ = 0;  ///< requests that follow soon
};

}  // namespace connd::proto
