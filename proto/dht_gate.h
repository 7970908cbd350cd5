// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtGate: what stands between OpenDHT and its UDP socket.
///
/// OpenDHT 2.4.12 reads what strangers send without looking at its shape, and answers any address with as much as it
/// has. So every datagram that came is walked (dht_walker.h) and dropped unless it is in the grammar of DHT_GATE.md;
/// values that come in parts are put together and walked here (dht_parts.h); and what OpenDHT sends waits until its
/// address has shown that it receives what we send there (dht_budget.h).
///
/// Sans-IO: no socket, clock or thread. For one thread at a time: OpenDHT sends on its thread and the socket receives
/// on another, so the caller holds a lock around each call. No call blocks, calls back, or throws but std::bad_alloc.
///
///     received:  on_received(from, bytes, now) -> kPass: give OpenDHT these bytes as they are
///     sent:      on_send(to, bytes, now)       -> kSend: send these bytes
///     after each of these, and after on_timeout: take_incoming() to OpenDHT, take_outgoing() to the network
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_address.h"
#include "proto/dht_fault.h"
#include "proto/dht_limits.h"
#include "proto/time.h"

namespace connd::proto {

/// What our node keeps for others. OpenDHT answers who puts something that is not kept as if it were: it has no other
/// answer; the same value goes to seven more nodes.
struct DhtKeepRules {
  std::size_t max_value_bytes = kMaxDhtValue;  ///< of its data, signature and name of its type together
  bool nothing = false;  ///< but for nodes of private addresses: on a LAN alone there may be nobody else
  /// Keys at which our node takes what is put there, and keeps nothing: these rules are not for that.
  std::vector<std::array<std::uint8_t, 20>> own_keys{};
};

struct DhtGateConfig {
  /// Of our node: in the pings that we send beside OpenDHT's own. It must be the id that OpenDHT uses.
  std::array<std::uint8_t, 20> node_id{};
  std::uint32_t network = 0;  ///< OpenDHT's network id; 0 is the public one
  /// 32 unpredictable bits: from the operating system or a generator that it seeded for cryptography. Called within the
  /// gate's methods.
  std::function<std::uint32_t()> random;
  /// Of the signed values that our node puts for good: OpenDHT stores them at once, before it sends them to anybody,
  /// and tells their ids alone to who asks. What is sent later the gate sees itself.
  std::vector<std::uint64_t> signed_ids{};
  DhtKeepRules keep{};
};

struct DhtReceived {
  enum class What : std::uint8_t {
    kPass,     ///< for OpenDHT, as it is
    kTaken,    ///< kept (a part of a value), or it was for the gate itself (the answer to its ping)
    kDropped,  ///< `fault` says why
  };
  What what = What::kPass;
  DhtFault fault = DhtFault::kNone;
};

struct DhtSend {
  enum class What : std::uint8_t {
    kSend,     ///< now
    kHeld,     ///< the gate has a copy, and gives it out by take_outgoing() when the address has proved itself
    kDropped,  ///< `fault` says why; tell OpenDHT that it was sent, as for a datagram that the network loses
  };
  What what = What::kSend;
  DhtFault fault = DhtFault::kNone;
};

/// All since the gate was made; datagrams, if not said otherwise.
struct DhtGateCounters {
  std::uint64_t received = 0;  ///< all that came
  std::uint64_t received_bytes = 0;
  std::uint64_t passed = 0;          ///< given to OpenDHT as they were
  std::uint64_t assembled = 0;       ///< made of a message and the parts of its values, and given to OpenDHT
  std::uint64_t parts = 0;           ///< kept for these
  std::uint64_t pongs = 0;           ///< answers to our pings: each proves an address
  std::uint64_t bad_values = 0;      ///< values that were cut out of messages that passed
  std::uint64_t refused_values = 0;  ///< values that were put and are not kept
  std::uint64_t sent = 0;            ///< all that OpenDHT sent and that went out, at once or later
  std::uint64_t sent_bytes = 0;
  std::uint64_t pings = 0;                          ///< ours, beside these
  std::uint64_t held = 0;                           ///< kept until their address proves itself
  std::array<std::uint64_t, kDhtFaults> dropped{};  ///< by DhtFault; received and sent
};

/// What the gate keeps at this moment. Each has a bound, in dht_limits.h.
struct DhtGateSizes {
  std::size_t part_records = 0;
  std::size_t part_bytes = 0;
  std::size_t addresses = 0;  ///< that sent us something lately and have not proved themselves
  std::size_t proved = 0;
  std::size_t held_bytes = 0;
};

class DhtGate {
 public:
  explicit DhtGate(DhtGateConfig config);
  ~DhtGate();
  DhtGate(DhtGate&&) noexcept;
  DhtGate& operator=(DhtGate&&) noexcept;

  /// A datagram came. `datagram` is not kept. One longer than kMaxDhtDatagram is dropped: give it as it was received,
  /// truncated by the socket or not.
  [[nodiscard]] DhtReceived on_received(const DhtAddress& from, Bytes datagram, TimePoint now);

  /// OpenDHT sends a datagram. `datagram` is copied when it is held.
  [[nodiscard]] DhtSend on_send(const DhtAddress& to, Bytes datagram, TimePoint now);

  /// Whole messages for OpenDHT, made of a message and the parts of its values, in the order in which they were
  /// completed. Each was walked. They may be longer than a UDP datagram (at most kMaxDhtAssembled).
  /// Call it after each on_received that was kTaken, and give them to OpenDHT before what comes later: whether a value
  /// may pass depends on those before it.
  [[nodiscard]] std::vector<DhtDatagram> take_incoming();
  /// Datagrams for the network, in order: pings of the gate, and what was held and may go.
  [[nodiscard]] std::vector<DhtDatagram> take_outgoing();

  /// When to call on_timeout; kNever: nothing waits. It changes by any call that is not const.
  [[nodiscard]] TimePoint next_deadline() const;
  /// Forgets what has waited too long. To call too early or too late is harmless.
  void on_timeout(TimePoint now);

  /// The host has another network now: what is held is for the old one, and so are parts that wait for others. What
  /// addresses have proved stays: that they receive what is sent there.
  void on_network_changed(TimePoint now);

  [[nodiscard]] const DhtGateCounters& counters() const;
  [[nodiscard]] DhtGateSizes sizes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace connd::proto
