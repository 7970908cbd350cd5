// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_gate.h"

#include <utility>

namespace connd::proto {

struct DhtGate::Impl {
  explicit Impl(DhtGateConfig c) : config(std::move(c)) {}
  DhtGateConfig config;
  DhtGateCounters counters;
  std::vector<DhtDatagram> incoming;
  std::vector<DhtDatagram> outgoing;
};

DhtGate::DhtGate(DhtGateConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}
DhtGate::~DhtGate() = default;
DhtGate::DhtGate(DhtGate&&) noexcept = default;
DhtGate& DhtGate::operator=(DhtGate&&) noexcept = default;

DhtReceived DhtGate::on_received(const DhtAddress&, Bytes datagram, TimePoint) {
  ++impl_->counters.received;
  impl_->counters.received_bytes += datagram.size();
  ++impl_->counters.passed;
  return {};
}

DhtSend DhtGate::on_send(const DhtAddress&, Bytes datagram, TimePoint) {
  ++impl_->counters.sent;
  impl_->counters.sent_bytes += datagram.size();
  return {};
}

std::vector<DhtDatagram> DhtGate::take_incoming() {
  return std::exchange(impl_->incoming, {});
}
std::vector<DhtDatagram> DhtGate::take_outgoing() {
  return std::exchange(impl_->outgoing, {});
}
TimePoint DhtGate::next_deadline() const {
  return kNever;
}
void DhtGate::on_timeout(TimePoint) {}
void DhtGate::on_network_changed(TimePoint) {}
const DhtGateCounters& DhtGate::counters() const {
  return impl_->counters;
}
DhtGateSizes DhtGate::sizes() const {
  return {};
}

}  // namespace connd::proto
