// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_bootstrap.h"

#include <algorithm>
#include <cassert>

namespace connd::daemon {

DhtBootstrap::DhtBootstrap(Loop& loop, std::vector<Place> places, Callbacks callbacks, Resolver::Ask ask)
    : loop_(loop),
      callbacks_(std::move(callbacks)),
      resolver_(loop, std::move(ask)),
      retry_(loop, [this] { round(); }),
      first_(loop, [this] { begin(); }) {
  for (auto& place : places) places_.push_back({std::move(place)});
}

bool DhtBootstrap::start(const std::optional<LanDiscoveryConfig>& lan) {
  lan_.reset();
  if (lan) lan_ = std::make_unique<LanDiscovery>(loop_, *lan, callbacks_.ping);
  connected_ = false;
  begun_ = places_.empty();
  pause_ = kBootstrapFirstPause;
  round();
  if (!begun_) first_.arm_in(kFirstNameTime);
  return begun_;
}

void DhtBootstrap::round() {
  if (stopped_) return;
  if (lan_) lan_->ask();
  ask_again();
  if (!lan_ && places_.empty()) return;
  retry_.arm_in(pause_);
  pause_ = std::min(pause_ * 2, kBootstrapLastPause);
}

void DhtBootstrap::ask_again() {
  if (stopped_) return;
  for (std::size_t i = 0; i < places_.size(); ++i) ask(i);
}

void DhtBootstrap::ask(std::size_t index) {
  State& state = places_[index];
  if (state.under_way) return;  // a dead nameserver: the question that is there already will do
  const auto literal = numeric_addresses(state.place.host, state.place.port);
  if (!literal.empty()) {
    begun_ = true;
    for (const auto& address : literal) callbacks_.ping(address);
    return;
  }
  state.under_way = true;
  resolver_.resolve(state.place.host, state.place.port,
                    [this, index](const Resolver::Addresses& addresses) { on_addresses(index, addresses); });
}

void DhtBootstrap::on_addresses(std::size_t index, const Resolver::Addresses& addresses) {
  State& state = places_[index];
  state.under_way = false;
  state.unresolved = addresses.empty();
  if (stopped_) return;
  for (const auto& address : addresses) callbacks_.ping(address);
  const bool last = std::none_of(places_.begin(), places_.end(), [](const State& s) { return s.under_way; });
  if (!addresses.empty() || last) begin();
}

void DhtBootstrap::begin() {
  first_.stop();
  if (begun_ || stopped_) return;
  begun_ = true;
  callbacks_.begun();
}

void DhtBootstrap::set_connected(bool connected) {
  if (connected == connected_ || stopped_) return;
  connected_ = connected;
  pause_ = kBootstrapFirstPause;
  if (connected) {
    retry_.stop();
    begin();
  } else {
    retry_.arm_in(pause_);
  }
}

void DhtBootstrap::network_changed() {
  if (stopped_) return;
  pause_ = kBootstrapFirstPause;
  if (!connected_) return round();
  if (lan_) lan_->ask();
}

void DhtBootstrap::stop() {
  stopped_ = true;
  retry_.stop();
  first_.stop();
  lan_.reset();
}

std::vector<std::string> DhtBootstrap::unresolved() const {
  std::vector<std::string> out;
  for (const State& state : places_) {
    if (state.unresolved) out.push_back(state.place.host);
  }
  return out;
}

void DhtBootstrap::forget_unresolved() {
  for (State& state : places_) state.unresolved = false;
}

}  // namespace connd::daemon
