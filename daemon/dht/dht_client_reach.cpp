// SPDX-License-Identifier: GPL-3.0-or-later
// The node of OpenDHT: how it is made, woken, tested, and made anew. When, says reachability.h.
//
// connectivityChanged() of OpenDHT 2.4 is not called: it forgets what it knew of its neighbours and leaves the listens
// as they are, which then have numbers that are no more, and drop all that comes (cured in 3.7.4). Nodes that were
// given up are greeted instead: one that answers is good again.
#include <algorithm>

#include "daemon/dht/dht_client_impl.h"

namespace connd::daemon {
namespace {

/// Nodes that are greeted at a time; one that answers is enough.
constexpr std::size_t kMaxGreeted = 16;
/// Peers whose answers are asked for at the keys of pairs, too; of more, at the public keys alone.
constexpr std::size_t kMaxAwaited = 64;
constexpr proto::Duration kRememberInterval = std::chrono::minutes(1);
// Of a new network, from the first answers on.
constexpr proto::Duration kNewsOfAddresses = std::chrono::seconds(1);

std::vector<dht::SockAddr> some_of(const std::vector<dht::NodeExport>& nodes) {
  std::vector<dht::SockAddr> out;
  const std::size_t stride = std::max<std::size_t>(1, nodes.size() / kMaxGreeted);
  for (std::size_t i = 0; i < nodes.size() && out.size() < kMaxGreeted; i += stride) {
    out.emplace_back(reinterpret_cast<const sockaddr*>(&nodes[i].ss), nodes[i].sslen);
  }
  return out;
}

}  // namespace

// ---- its life ----

void DhtClient::Impl::make_node() {
  ++generation_;
  node_ = std::make_shared<DhtNode>();
  auto& runner = node_->runner;
  runner.run(dht_runner_config(config_, node_id_), context(std::make_unique<DhtSocket>(port_)));
  runner.forwardAllMessages(true);  // a node without a key drops what is encrypted, else
  for (const auto& type : kept_types()) runner.registerType(type);
  runner.registerType(user_data_type());
  std::optional<LanDiscoveryConfig> lan;
  if (config_.lan_discovery) {
    lan.emplace();
    std::copy_n(node_id_.data(), lan->node_id.size(), lan->node_id.begin());
    lan->network = kDhtNetwork;
    lan->port4 = status_.port4;
    lan->port6 = status_.port6;
  }
  holding_ = !bootstrap_->start(lan) && known_nodes_.empty();
  if (!known_nodes_.empty()) runner.bootstrap(known_nodes_);
  if (!holding_) begin_node();
}

/// It has somebody to begin with, or nobody in time.
void DhtClient::Impl::begin_node() {
  holding_ = false;
  if (!node_ || begun_ == generation_) return;
  begun_ = generation_;
  for (const DhtKept& kept : kept_) node_->keep(kept);
  take_up_pending();
  reach_.on_node_made(loop_.now());
  look_after();
}

/// What the node before had not finished.
void DhtClient::Impl::take_up_pending() {
  const auto lookups = lookup_slots_.running();
  for (const std::uint64_t id : lookups) {
    if (lookups_.at(id).pending != 0) search_all(id);  // else it pauses
  }
  const auto searches = device_search_slots_.running();
  for (const std::uint64_t id : searches) search_devices(id);
  for (const auto& [id, search] : record_searches_) search_records(id);
  for (const auto& [id, send] : sends_) {
    if (send.sealed) put_sealed(id);
  }
}

/// Nothing is lost by it: what waits for an answer is asked anew, what we listen at and have put is the same, and so is
/// the port; channels do not run over it.
void DhtClient::Impl::renew() {
  on_status(dht::NodeStatus::Disconnected, dht::NodeStatus::Disconnected);
  if (closed_ || !node_) return;
  ++generation_;  // from here on it has nothing to say
  for (auto& probe : bridge_->probes) probe = 0;
  ending_ = std::move(node_);
  auto known = std::make_shared<std::vector<dht::NodeExport>>();  // the pool's, then the loop's
  loop_.post_work(
      [node = ending_, known] {
        *known = node->known();
        node->join();
      },
      [weak = weak_from_this(), known] {
        const auto self = weak.lock();
        if (!self) return;
        self->ending_.reset();
        self->take_known(std::move(*known));
        self->make_node_again();
      });
}

void DhtClient::Impl::make_node_again() {
  if (closed_) return;
  if (shutting_down_) return finish_shutdown();
  make_node();
}

/// While they are good: in an outage none is, and those that were are what one goes back to.
void DhtClient::Impl::remember_nodes() {
  if (!node_ || loop_.now() < known_at_ + kRememberInterval) return;
  known_at_ = loop_.now();
  auto known = std::make_shared<std::vector<dht::NodeExport>>();      // the pool's, then the loop's
  loop_.post_work([node = node_, known] { *known = node->known(); },  // waits for OpenDHT's lock
                  [weak = weak_from_this(), known] {
                    if (const auto self = weak.lock()) self->take_known(std::move(*known));
                  });
}

void DhtClient::Impl::take_known(std::vector<dht::NodeExport> nodes) {
  // The former ones stay behind the new, as far as there is room.
  for (auto& node : known_nodes_) {
    if (nodes.size() >= kMaxSavedNodes) break;
    const bool there = std::any_of(nodes.begin(), nodes.end(), [&](const auto& other) { return other.id == node.id; });
    if (!there) nodes.push_back(node);
  }
  if (nodes.size() > kMaxSavedNodes) nodes.resize(kMaxSavedNodes);
  known_nodes_ = std::move(nodes);
}

// ---- whether it is reached ----

void DhtClient::Impl::network_changed() {
  if (shutting_down_ || closed_) return;
  port_->on_network_changed();
  bootstrap_->network_changed();
  status_.seen_at.network_changed();
  stats_timer_.arm_in(kNewsOfAddresses);
  network_stirred();
}

void DhtClient::Impl::network_stirred() {
  if (shutting_down_ || closed_) return;
  reach_.on_sign(loop_.now());
  look_after();
}

/// Carries out what is due.
void DhtClient::Impl::look_after() {
  const auto self = shared_from_this();  // a callback may destroy the client
  while (!shutting_down_ && !closed_) {
    const ReachAction action = reach_.next(loop_.now());
    if (action == ReachAction::kNone) break;
    switch (action) {
      case ReachAction::kWakeListens:
        wake_listens();
        break;
      case ReachAction::kWakeAll:
        wake_all();
        break;
      case ReachAction::kTest:
        begin_test();
        break;
      case ReachAction::kRenew:
        renew();
        break;
      case ReachAction::kNone:
        break;
    }
  }
  if (shutting_down_ || closed_) return;
  reach_timer_.arm(reach_.next_deadline());
  if (reach_.state() == told_reach_) return;
  told_reach_ = reach_.state();
  const auto call = handlers_.on_reach;  // a copy: the callback may destroy the client
  if (call) call(told_reach_);
}

void DhtClient::Impl::watch_traffic() {
  reach_.on_received(port_->counters().received, loop_.now());
  traffic_timer_.arm_in(reach_.silent() ? Reachability::kSilentInterval : Reachability::kTrafficInterval);
  look_after();
}

void DhtClient::Impl::wake_listens() {
  if (!can_ask()) return;
  for (const DhtKept& kept : kept_) node_->wake(kept);
}

void DhtClient::Impl::wake_all() {
  if (!can_ask()) return;
  node_->greet(some_of(known_nodes_));
  if (status_.state != DhtState::kConnected) return ask_bootstrap();
  for (const DhtKept& kept : kept_) {
    // Those of pairs are many, and what is missed there comes by the public keys a second later.
    kept.answers && !kept.pair_peer ? node_->ask(kept) : node_->wake(kept);
    node_->check(kept);
  }
}

/// The value comes back by the listen, and only through another node (see Bridge::let_it_come_back).
void DhtClient::Impl::begin_test() {
  if (!can_ask()) return;
  probes_pending_ = 0b11;
  for (std::size_t i = 0; i < request_keys_.size(); ++i) {
    const std::uint64_t content = random_value_id();
    bridge_->probes[i] = content;
    // A value that is not signed cannot be edited: another one each time. Ten of them are alive at a time.
    auto value = std::make_shared<dht::Value>(
        dht::ValueType::USER_DATA.id,
        dht::Blob(reinterpret_cast<const std::uint8_t*>(&content), reinterpret_cast<const std::uint8_t*>(&content + 1)),
        random_value_id());
    value->user_type = kProbeType;
    bridge_->own_probes[i] = value.get();
    node_->send_home(request_keys_[i], std::move(value));
  }
}

void DhtClient::Impl::on_probe(bool at_short_key) {
  probes_pending_ &= ~(at_short_key ? 0b10u : 0b01u);
  if (probes_pending_ != 0) return;
  reach_.on_test_passed(loop_.now());
  look_after();
}

void DhtClient::Impl::expect_answer(const proto::DeviceId& peer) {
  const auto now = loop_.now();
  std::erase_if(awaited_, [now](const auto& one) { return one.second <= now; });
  if (awaited_.size() < kMaxAwaited || awaited_.contains(peer)) awaited_[peer] = now + AnswerWatch::kPatience;
  answers_.on_request(now);
  answer_timer_.arm(answers_.next_deadline());
}

void DhtClient::Impl::look_for_answers() {
  const bool due = answers_.due(loop_.now());
  answer_timer_.arm(answers_.next_deadline());
  if (!due || !can_ask() || shutting_down_) return;
  for (const DhtKept& kept : kept_) {
    if (kept.answers && (!kept.pair_peer || awaited_.contains(*kept.pair_peer))) node_->ask(kept);
  }
}

}  // namespace connd::daemon
