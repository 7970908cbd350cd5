// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtNames: of the nodes that an answer names, OpenDHT hears of those that live.
///
/// A search of OpenDHT 2.4 is through when the eight nearest nodes that it has heard of have answered, and it gives
/// each of them a second: one node that does not answer makes every request to a peer, and every answer, a second
/// later. On the public network many do not, for they are behind a NAT, or gone. And who names addresses of others has
/// OpenDHT ask these up to three times. So an answer whose names we do not all know waits for a moment, while these are
/// pinged once; those that have not answered by then are cut out of it, and are told to OpenDHT when they do.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "proto/bytes.h"
#include "proto/dht_address.h"
#include "proto/dht_budget.h"
#include "proto/dht_walker.h"
#include "proto/time.h"

namespace connd::proto {

/// Sans-IO.
class DhtNames {
 public:
  /// `own_id`: names of our own node stay.
  explicit DhtNames(const std::array<std::uint8_t, 20>& own_id) : own_id_(own_id) {}

  /// An answer to OpenDHT has come. False: it passes as it is. Else it is kept, and comes by take_output().
  bool on_answer(const DhtAddress& from, Bytes datagram, const DhtMessage& message, DhtBudget& budget, TimePoint now);
  /// A ping was answered, or time has passed.
  void release(DhtBudget& budget, TimePoint now);
  /// The host has another network: what waits is not worth it.
  void clear();

  [[nodiscard]] std::vector<DhtDatagram> take_output();
  [[nodiscard]] TimePoint next_deadline() const;
  /// Names that were cut out, since the start.
  [[nodiscard]] std::uint64_t cut() const { return cut_; }

 private:
  /// `n4` or `n6`; its place in the datagram, for a copy has another one.
  struct Nodes {
    bool ipv6;
    DhtSpan at;
    DhtSpan nodes;
  };
  struct Waiting {
    DhtDatagram datagram;
    std::vector<Nodes> named;
    TimePoint until;
  };
  [[nodiscard]] DhtBudget::Named name(Bytes node, bool ipv6, DhtBudget& budget, TimePoint now) const;
  /// Without those that have not answered.
  ByteVector without_silent(Bytes datagram, const std::vector<Nodes>& named, DhtBudget& budget, TimePoint now);
  /// The least that is known of any: kAsked, else kSilent, else kLives.
  DhtBudget::Named ask(Bytes datagram, const std::vector<Nodes>& named, DhtBudget& budget, TimePoint now) const;

  std::array<std::uint8_t, 20> own_id_;
  std::list<Waiting> waiting_;  ///< those that wait longest first
  std::size_t waiting_bytes_ = 0;
  std::vector<DhtDatagram> output_;
  std::uint64_t cut_ = 0;
};

}  // namespace connd::proto
