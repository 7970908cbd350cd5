// SPDX-License-Identifier: GPL-3.0-or-later
/// Reachability: whether others can reach this device by the DHT, and when to do something about it.
///
/// OpenDHT does not know. In an outage its listens lose the nodes that they listen at and are not begun again when the
/// network is back; the nodes go on sending us what we then drop, and the state says "connected" (seen with 2.4.12: 8
/// of 12 outages of 20 s made a device deaf for longer than a minute). So: what is kept on the DHT is woken by asking
/// for it, soon after each sign of a change and from time to time; a test, a value of our own put where we listen,
/// tells whether requests come through, for it comes back through another node only; and where that fails twice,
/// OpenDHT's node is made anew.
///
/// Knows no clock and no DHT: what happened goes in with the time, what is to be done comes out of next(). One thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "daemon/dht/renewal_pace.h"
#include "daemon/dht/silence_gauge.h"
#include "proto/time.h"

namespace connd::daemon {

enum class Reach : std::uint8_t { kUnknown, kYes, kNo };
const char* to_string(Reach reach);

enum class ReachAction : std::uint8_t {
  kNone,
  kWakeListens,  ///< ask for the keys that are listened at; from memory while all is well, so that it costs no packet
  kWakeAll,      ///< ask those nodes that we know, the network for what was put for us, and for what we have put
  kTest,         ///< begin a test, in place of one that is under way
  kRenew,        ///< a new node; call on_node_made when it is there
};

class Reachability {
 public:
  // After a sign: the first ones come before a network is quite up, the last one when a slow one is.
  static constexpr std::array kWakeDelays{proto::Duration(0), proto::Duration(500), proto::Duration(2'000),
                                          proto::Duration(5'000), proto::Duration(15'000)};
  static constexpr proto::Duration kWakeGap{400};  ///< between these, however many signs there are
  /// As often as OpenDHT refreshes its listens: what it has lost meanwhile is lost for no longer than that.
  static constexpr proto::Duration kListenWakeInterval{20'000};
  /// What was put expires after ten minutes.
  static constexpr proto::Duration kFullWakeInterval{300'000};
  /// Who goes deaf without a sign does so, at worst, when a test has just passed. The next one comes after this time,
  /// it and the one behind it fail (kTestTime each), and a new node listens 1 to 3 s after kRenew: 30 + 2.5 + 2.5 + 3
  /// = 38 s, of the 45 that the measure gives.
  static constexpr proto::Duration kTestInterval{30'000};
  /// From a sign to its test: the wake has done its work by then.
  static constexpr proto::Duration kTestDelay{1'000};
  /// A put and what it brings back: three round trips of half a second, one of them repeated after another.
  static constexpr proto::Duration kTestTime{2'500};
  /// Between the beginnings of tests, however many signs there are. A listen that a flap of the link has killed is back
  /// at worst, when a test had just begun, after kTestGap, two tests that fail, and a new node: 2 + 2.5 + 2.5 + 3 = 10
  /// s, which is what the measure gives.
  static constexpr proto::Duration kTestGap{2'000};
  static constexpr unsigned kFailuresToRenew = 2;  ///< how often, says RenewalPace
  /// No node answers any more, though one did: maybe it is ours that is broken. Once; then there is no network.
  static constexpr proto::Duration kAloneTime{120'000};

  /// A node whose listens are refreshed hears something every 20 s. After such a silence, the first datagram is a sign.
  static constexpr proto::Duration kSilence{25'000};
  /// How often on_received is to be called: often while there is silence.
  static constexpr proto::Duration kTrafficInterval{10'000};
  static constexpr proto::Duration kSilentInterval{2'000};

  explicit Reachability(proto::TimePoint now)
      : since_(now), full_wake_at_(now + kFullWakeInterval), silence_(now, kSilence) {}

  /// Something has changed, or may have: an address, a link, a route, the machine slept.
  void on_sign(proto::TimePoint now);
  /// The first answer of another node after none; and the last one's silence.
  void on_connected(proto::TimePoint now);
  void on_disconnected(proto::TimePoint now);
  /// What the last kTest put has come back.
  void on_test_passed(proto::TimePoint now);
  void on_node_made(proto::TimePoint now);
  /// How many datagrams have come since the start.
  void on_received(std::uint64_t total, proto::TimePoint now);
  [[nodiscard]] bool silent() const { return silence_.silent(); }

  /// What is due, one by one until kNone.
  ReachAction next(proto::TimePoint now);
  /// When to call next() again; kNever never comes.
  [[nodiscard]] proto::TimePoint next_deadline() const;

  [[nodiscard]] Reach state() const { return state_; }
  [[nodiscard]] proto::TimePoint since() const { return since_; }
  [[nodiscard]] std::optional<proto::TimePoint> last_passed() const { return last_passed_; }
  [[nodiscard]] std::uint64_t tests() const { return tests_; }
  [[nodiscard]] std::uint64_t renewals() const { return renewals_.count(); }

 private:
  void become(Reach state, proto::TimePoint now);
  void test_at(proto::TimePoint when);
  [[nodiscard]] proto::TimePoint wake_at() const;
  [[nodiscard]] ReachAction test_failed(proto::TimePoint now);
  [[nodiscard]] ReachAction renew(proto::TimePoint now);

  Reach state_ = Reach::kUnknown;
  proto::TimePoint since_;
  bool connected_ = false;
  proto::TimePoint alone_at_ = proto::kNever;  ///< when kAloneTime is over
  proto::TimePoint sign_at_{};
  proto::TimePoint woken_at_ = proto::TimePoint{} - std::chrono::hours(1);
  std::size_t wake_step_ = kWakeDelays.size();  ///< the next of kWakeDelays
  proto::TimePoint listen_wake_at_ = proto::kNever;
  proto::TimePoint full_wake_at_;
  proto::TimePoint test_at_ = proto::kNever;
  proto::TimePoint test_begun_ = proto::TimePoint{} - std::chrono::hours(1);
  proto::TimePoint test_ends_ = proto::kNever;  ///< kNever: none is under way
  unsigned failures_ = 0;                       ///< of tests, in a row
  RenewalPace renewals_;
  SilenceGauge silence_;
  std::optional<proto::TimePoint> last_passed_;
  std::uint64_t tests_ = 0;
};

}  // namespace connd::daemon
