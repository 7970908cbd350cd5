// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_gate.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "proto/dht_budget.h"
#include "proto/dht_keep.h"
#include "proto/dht_limits.h"
#include "proto/dht_msgpack.h"
#include "proto/dht_parts.h"
#include "proto/dht_walker.h"

namespace connd::proto {
namespace {

std::size_t index_of(DhtFault fault) {
  return static_cast<std::size_t>(fault);
}

}  // namespace

struct DhtGate::Impl {
  explicit Impl(const DhtGateConfig& config)
      : budget({config.node_id, config.network, config.random}),
        asked(config.random, {kMaxAskedPartBytes, kMaxAskedPartBytesOfAddress}),
        unasked(config.random, {kMaxUnaskedPartBytes, kMaxUnaskedPartBytesOfAddress}),
        keeper(config) {}

  DhtBudget budget;
  /// Answers to our own requests, and all else: what strangers send leaves the former their room.
  DhtParts asked;
  DhtParts unasked;
  DhtKeeper keeper;
  DhtMessage message;  ///< its vectors keep their storage
  DhtGateCounters counters;
  std::uint64_t bad_values = 0;
  std::uint64_t refused_values = 0;
  std::vector<DhtDatagram> incoming;
  std::vector<DhtDatagram> outgoing;

  DhtReceived drop(DhtFault fault) {
    ++counters.dropped[index_of(fault)];
    return {DhtReceived::What::kDropped, fault};
  }

  /// Those of this message, and those of the parts, which count for themselves.
  void count_values() {
    bad_values += message.bad_values.size();
    refused_values += message.refused.size();
    counters.bad_values = bad_values + asked.bad_values() + unasked.bad_values();
    counters.refused_values = refused_values + asked.refused_values() + unasked.refused_values();
  }

  void judge_put(const DhtAddress& from, TimePoint now) {
    if (message.kind == DhtKind::kRefresh) keeper.on_refresh(message.key, message.value_id, now);
    if (message.kind != DhtKind::kPut) return;
    for (const DhtWholeValue& value : message.whole) {
      if (auto instead = keeper.refuse(from, message.key, value.info, now)) {
        message.refused.push_back({value.at, std::move(*instead)});
      }
    }
  }

  DhtReceived on_parts(const DhtAddress& from, TimePoint now) {
    DhtParts& parts = asked.knows(from, message.tid) ? asked : unasked;
    if (const DhtFault fault = parts.add(
            from, message, now,
            [&](const DhtMessage& put, const DhtValueInfo& value) { return keeper.refuse(from, put.key, value, now); });
        fault != DhtFault::kNone)
      return drop(fault);
    ++counters.parts;
    count_values();
    for (DhtDatagram& whole : parts.take_complete()) {
      ++counters.assembled;
      incoming.push_back(std::move(whole));
    }
    return {DhtReceived::What::kTaken, DhtFault::kNone};
  }

  DhtReceived on_message(const DhtAddress& from, Bytes datagram, bool is_asked, TimePoint now) {
    judge_put(from, now);
    if (!message.sized.empty()) {
      const DhtFault fault = (is_asked ? asked : unasked).open(from, datagram, message, now);
      count_values();
      return fault == DhtFault::kNone ? DhtReceived{DhtReceived::What::kTaken, fault} : drop(fault);
    }
    ++counters.passed;
    const std::vector<DhtCut> cuts = cuts_of(message);
    if (cuts.empty()) return {};
    count_values();
    incoming.push_back({from, splice(datagram, cuts)});
    return {DhtReceived::What::kTaken, DhtFault::kNone};
  }

  void take_budget_output() {
    for (DhtBudget::Output& output : budget.take_output()) {
      if (output.is_ping) {
        ++counters.pings;
      } else {
        ++counters.sent;
        counters.sent_bytes += output.datagram.bytes.size();
      }
      outgoing.push_back(std::move(output.datagram));
    }
    const DhtBudget::Dropped dropped = budget.take_dropped();
    counters.dropped[index_of(DhtFault::kSendNoRoom)] += dropped.no_room;
    counters.dropped[index_of(DhtFault::kSendUnproved)] += dropped.unproved;
    counters.dropped[index_of(DhtFault::kSendRate)] += dropped.rate;
  }
};

DhtGate::DhtGate(DhtGateConfig config) : impl_(std::make_unique<Impl>(config)) {}
DhtGate::~DhtGate() = default;
DhtGate::DhtGate(DhtGate&&) noexcept = default;
DhtGate& DhtGate::operator=(DhtGate&&) noexcept = default;

DhtReceived DhtGate::on_received(const DhtAddress& from, Bytes datagram, TimePoint now) {
  Impl& gate = *impl_;
  ++gate.counters.received;
  gate.counters.received_bytes += datagram.size();
  if (const DhtFault fault = walk_dht_message(datagram, gate.message); fault != DhtFault::kNone) {
    return gate.drop(fault);
  }
  const DhtBudget::Seen seen = gate.budget.on_received(from, gate.message, datagram.size(), now);
  gate.take_budget_output();
  if (seen == DhtBudget::Seen::kPong) {
    ++gate.counters.pongs;
    return {DhtReceived::What::kTaken, DhtFault::kNone};
  }
  if (gate.message.kind == DhtKind::kValueData) return gate.on_parts(from, now);
  return gate.on_message(from, datagram, seen == DhtBudget::Seen::kAnswer, now);
}

DhtSend DhtGate::on_send(const DhtAddress& to, Bytes datagram, TimePoint now) {
  Impl& gate = *impl_;
  const bool in_order = walk_dht_message(datagram, gate.message) == DhtFault::kNone;
  if (in_order) gate.keeper.on_sent(gate.message, now);
  const DhtBudget::Decision decision = gate.budget.on_send(to, datagram, in_order ? &gate.message : nullptr, now);
  gate.take_budget_output();
  switch (decision.fate) {
    case DhtBudget::Fate::kSend:
      ++gate.counters.sent;
      gate.counters.sent_bytes += datagram.size();
      return {};
    case DhtBudget::Fate::kHold:
      ++gate.counters.held;
      return {DhtSend::What::kHeld, DhtFault::kNone};
    case DhtBudget::Fate::kDrop:
      break;
  }
  ++gate.counters.dropped[index_of(decision.fault)];
  return {DhtSend::What::kDropped, decision.fault};
}

std::vector<DhtDatagram> DhtGate::take_incoming() {
  return std::exchange(impl_->incoming, {});
}

std::vector<DhtDatagram> DhtGate::take_outgoing() {
  return std::exchange(impl_->outgoing, {});
}

TimePoint DhtGate::next_deadline() const {
  return std::min({impl_->budget.next_deadline(), impl_->asked.next_deadline(), impl_->unasked.next_deadline()});
}

void DhtGate::on_timeout(TimePoint now) {
  impl_->asked.on_timeout(now);
  impl_->unasked.on_timeout(now);
  impl_->budget.on_timeout(now);
  impl_->take_budget_output();
}

void DhtGate::on_network_changed(TimePoint) {
  impl_->asked.clear();
  impl_->unasked.clear();
  impl_->budget.drop_held();
  impl_->take_budget_output();
}

const DhtGateCounters& DhtGate::counters() const {
  return impl_->counters;
}

DhtGateSizes DhtGate::sizes() const {
  const Impl& gate = *impl_;
  return {gate.asked.records() + gate.unasked.records(), gate.asked.bytes() + gate.unasked.bytes(),
          gate.budget.unproved(), gate.budget.proved(), gate.budget.held_bytes()};
}

}  // namespace connd::proto
