// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtBudget: how much may be sent to whom, so that nobody makes our node flood a third.
///
/// UDP's sender addresses can be forged. An address has proved itself when it has sent back 32 unpredictable bits of a
/// ping of ours. Nothing less counts: OpenDHT's own transaction ids count upwards, node by node, and one can make it
/// believe that a node has moved to another address. To an address without proof go at most three times the bytes that
/// came from it (RFC 9000, section 8.1), pings and all; a larger answer waits for the proof. Behind the proof, each IP
/// address has a bucket of bytes.
///
/// Small requests of our own are not answers, and go to any address that we speak to first, or that has answered one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_address.h"
#include "proto/dht_limits.h"
#include "proto/dht_walker.h"
#include "proto/time.h"
#include "proto/token_bucket.h"

namespace connd::proto {

/// Sans-IO.
class DhtBudget {
 public:
  struct Config {
    std::array<std::uint8_t, 20> node_id{};
    std::uint32_t network = 0;
    std::function<std::uint32_t()> random;  ///< as in DhtGateConfig
  };
  enum class Fate : std::uint8_t { kSend, kHold, kDrop };
  struct Decision {
    Fate fate = Fate::kSend;
    DhtFault fault = DhtFault::kNone;  ///< of kDrop
  };
  enum class Seen : std::uint8_t {
    kOther,
    kAnswer,  ///< to a request of OpenDHT's, by its transaction id
    kPong,    ///< to a ping of ours: it is not for OpenDHT
    kLate,    ///< the same, of a node that was left out of an answer because it was silent
  };

  explicit DhtBudget(Config config);

  /// `message`, of `bytes` bytes and in order, came.
  Seen on_received(const DhtAddress& from, const DhtMessage& message, std::size_t bytes, TimePoint now);
  /// OpenDHT sends `datagram`; `message` is what it says, null when the walker could not tell. kHold: a copy is kept.
  Decision on_send(const DhtAddress& to, Bytes datagram, const DhtMessage* message, TimePoint now);

  /// What is known of an address that an answer names. One of which nothing is known is pinged.
  enum class Named : std::uint8_t {
    kLives,   ///< it has answered lately; or it cannot be tried now
    kAsked,   ///< its answer may still come
    kSilent,  ///< none came in kNamedPatience. It is tried again when it is named again, ever more seldom
  };
  Named on_named(const DhtAddress& address, TimePoint now);
  /// It was cut out of an answer: should it speak, it is kLate.
  void on_left_out(const DhtAddress& address);
  /// What was silent may have been so because we had no network.
  void forget_silence();

  /// What goes out beside what is sent at once: our pings, and what was held.
  struct Output {
    DhtDatagram datagram;
    bool is_ping;
  };
  std::vector<Output> take_output();

  [[nodiscard]] TimePoint next_deadline() const;
  /// Drops what was held too long.
  void on_timeout(TimePoint now);
  /// Drops all that is held.
  void drop_held();

  /// Held datagrams that were dropped since the last call, by the three faults that can be.
  struct Dropped {
    std::uint64_t no_room = 0;
    std::uint64_t unproved = 0;
    std::uint64_t rate = 0;
  };
  Dropped take_dropped();

  [[nodiscard]] bool is_proved(const DhtAddress& address, TimePoint now) const;
  [[nodiscard]] std::size_t unproved() const { return unproved_.size(); }
  [[nodiscard]] std::size_t proved() const { return proved_.size(); }
  [[nodiscard]] std::size_t held_bytes() const { return held_bytes_; }

 private:
  /// A message and the parts of its values share one fate: less than all of it is worth nothing.
  struct Group {
    std::uint32_t tid = 0;
    Fate fate = Fate::kDrop;
    DhtFault fault = DhtFault::kSendUnproved;
  };
  /// Transaction ids of the last requests that OpenDHT sent to an address. A node that is alone in its network is asked
  /// about each of our keys at once.
  class Asked {
   public:
    void add(std::uint32_t tid) { tids_[count_++ % tids_.size()] = tid; }
    [[nodiscard]] bool has(std::uint32_t tid) const;

   private:
    std::array<std::uint32_t, 32> tids_{};
    std::size_t count_ = 0;
  };
  /// Our pings to one address.
  struct Pings {
    std::optional<std::uint32_t> tid;  ///< of the one that is out
    TimePoint first;                   ///< that it was sent
    TimePoint last;
    TimePoint since;          ///< the first of those without an answer
    std::uint32_t sent = 0;   ///< without an answer
    std::uint32_t wrong = 0;  ///< answers to nothing, while it was out
  };
  struct Unproved {
    DhtAddress address;
    TimePoint last;
    std::uint32_t credit = 0;
    bool ours = false;      ///< we spoke first, or it has answered a request
    bool left_out = false;  ///< of an answer that named it
    Pings pings;
    Asked asked;
    std::optional<Group> group;
    std::deque<ByteVector> held;
    std::size_t held_bytes = 0;
    TimePoint held_since;
  };
  struct Proved {
    DhtAddress address;
    TimePoint until;
    std::uint32_t pong = 0;           ///< the answer by which it proved itself: it may come twice
    TimePoint silent_since = kNever;  ///< the first request to it behind which nothing came from it
    Asked asked;
    std::optional<Group> group;
  };
  struct Bucket {
    DhtAddress ip;
    TokenBucket tokens;
  };
  // The least recently used first.
  using UnprovedList = std::list<Unproved>;
  using ProvedList = std::list<Proved>;
  using BucketList = std::list<Bucket>;

  Unproved* find_unproved(const DhtAddress& address, TimePoint now);
  Unproved& make_unproved(const DhtAddress& address, TimePoint now);
  void remove_unproved(UnprovedList::iterator peer);
  /// One whose proof is too old becomes unproved here.
  Proved* find_proved(const DhtAddress& address, TimePoint now);
  Proved& prove(Unproved& peer, TimePoint now);
  void remove_proved(ProvedList::iterator peer);
  Unproved& unprove(ProvedList::iterator peer, TimePoint now);
  bool take_tokens(const DhtAddress& to, std::size_t bytes, TimePoint now);

  Decision send_to_proved(Proved& peer, Bytes datagram, const DhtMessage* message, TimePoint now);
  Decision send_to_unproved(Unproved& peer, Bytes datagram, const DhtMessage* message, TimePoint now);
  Decision hold(Unproved& peer, Bytes datagram, std::size_t all, TimePoint now);
  void drop_held_of(Unproved& peer, std::uint64_t& counter);
  bool release(Unproved& peer, TimePoint now);
  void on_wrong_answer(Unproved& peer);
  void ping(Unproved& peer, TimePoint now);

  Config config_;
  std::size_t ping_bytes_;
  UnprovedList unproved_list_;
  std::unordered_map<DhtAddress, UnprovedList::iterator, DhtAddressHash> unproved_;
  ProvedList proved_list_;
  std::unordered_map<DhtAddress, ProvedList::iterator, DhtAddressHash> proved_;
  std::unordered_map<DhtAddress, std::size_t, DhtAddressHash> proved_of_prefix_;
  BucketList bucket_list_;
  std::unordered_map<DhtAddress, BucketList::iterator, DhtAddressHash> buckets_;
  /// Addresses for which something is held, those that wait longest first.
  std::list<DhtAddress> holding_;
  std::size_t held_bytes_ = 0;
  TokenBucket named_pings_{kNamedPingBurst, kNamedPingsPerSecond, TimePoint{}};
  Dropped dropped_;
  std::vector<Output> output_;
};

}  // namespace connd::proto
