// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_client.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <sys/socket.h>

#include "daemon/dht/dht_client_impl.h"

namespace connd::daemon {
namespace {

/// With fewer nodes than a value is kept at (OpenDHT: 8) it may be that we are in a part of the network that lost the
/// rest, as two nodes are that hold on to each other while their bootstrap is away. OpenDHT asks that again only when
/// it knows nobody at all.
constexpr unsigned kFewNodes = 8;
// Of a new network, from the first answers on.
constexpr proto::Duration kNewsOfAddresses = std::chrono::seconds(1);

DhtState state_of(dht::NodeStatus status) {
  switch (status) {
    case dht::NodeStatus::Disconnected:
      return DhtState::kDisconnected;
    case dht::NodeStatus::Connecting:
      return DhtState::kConnecting;
    case dht::NodeStatus::Connected:
      return DhtState::kConnected;
  }
  return DhtState::kDisconnected;
}

DhtNodeCounts counts_of(const dht::NodeStats& stats) {
  return {stats.good_nodes, stats.dubious_nodes, stats.cached_nodes, stats.incoming_nodes};
}

}  // namespace

const char* to_string(DhtState state) {
  switch (state) {
    case DhtState::kDisconnected:
      return "disconnected";
    case DhtState::kConnecting:
      return "connecting";
    case DhtState::kConnected:
      return "connected";
  }
  return "unknown";
}

DhtClient::Impl::Impl(Loop& loop, DhtHandlers handlers)
    : loop_(loop),
      handlers_(std::move(handlers)),
      answer_timer_(loop, [this] { look_for_answers(); }),
      stats_timer_(loop, [this] { ask_stats(); }) {}

void DhtClient::Impl::start(const DhtConfig& config, const DhtBeginning& beginning) {
  const DhtPoster poster(loop_, weak_from_this());
  const auto& certificate = *beginning.keys.device.second;
  const dht::InfoHash node_id = node_id_of(certificate.getId());
  request_keys_ = {request_key(id_of<proto::DeviceId>(certificate.getLongId()).hex()),
                   request_key(id_of<proto::ShortDeviceId>(certificate.getId()).hex())};
  node_.emplace(loop_, poster, config, node_callbacks());
  kept_.emplace(*node_, [this](const dht::InfoHash& key, const proto::DeviceId& peer) {
    return request_listen(key, Arrival{false, peer});
  });
  chains_.emplace(loop_, poster, *node_);
  devices_.emplace(loop_, poster, *node_);
  records_.emplace(loop_, poster, *node_);
  sender_.emplace(poster, *node_, beginning.seals);
  // Copies of the handlers are called: a callback may destroy the client.
  intake_.emplace(loop_, poster, beginning, [this](const IncomingRequest& request) {
    if (const auto call = handlers_.on_request) call(request);
  });
  probes_ = std::make_shared<ReachProbes>(poster, [this](std::size_t key) { on_probe(key); });
  log_ = std::make_shared<DhtLog>(poster, [this](DhtLogLevel level, const std::string& line) {
    if (const auto call = handlers_.on_log) call(level, line);
  });
  reach_.emplace(loop_, poster, reach_actions());
  keep_own(beginning.keys);
  node_->make({node_id,
               open_dht_port(config, node_id, request_keys_, kept_->signed_ids()),
               beginning.known_nodes,
               {user_data_type()},
               handlers_.on_log ? DhtLog::logger(log_) : nullptr});
  status_.port4 = node_->bound_port(AF_INET);
  status_.port6 = node_->bound_port(AF_INET6);
  reach_->begin();
  stats_timer_.arm_in(kDhtStatsInterval);
}

NodeLife::Callbacks DhtClient::Impl::node_callbacks() {
  return {[this] { begin_node(); }, [this](dht::NodeStatus v4, dht::NodeStatus v6) { on_status(v4, v6); },
          [this](const dht::NodeInfo& info) { on_stats(info); },
          [this](std::vector<std::string> addresses) { status_.seen_at.told(std::move(addresses)); }};
}

ReachWatch::Actions DhtClient::Impl::reach_actions() {
  ReachWatch::Actions actions;
  actions.wake_listens = [this] { kept_->wake_listens(); };
  actions.wake_all = [this] { wake_all(); };
  actions.test = [this] { begin_test(); };
  actions.renew = [this] { renew(); };
  actions.received = [this] { return node_->port().counters().received; };
  actions.told = [this](Reach reach) {
    if (const auto call = handlers_.on_reach) call(reach);  // a copy, as above
  };
  return actions;
}

// ---- what we listen at, and put ----

void DhtClient::Impl::keep_own(const DhtKeys& keys) {
  kept_->keep(request_listen(request_keys_[0], Arrival{}));
  kept_->keep(request_listen(request_keys_[1], Arrival{true, std::nullopt}));
  for (auto& [key, value] : published_values(keys)) kept_->keep({key, {}, std::move(value)});
}

DhtKept DhtClient::Impl::request_listen(const dht::InfoHash& key, const Arrival& arrival) const {
  const auto heard = [door = intake_->door(), probes = probes_, arrival](const DhtValues& values, bool expired) {
    if (expired) return true;
    for (const auto& value : values) {
      const bool test = value->user_type == kProbeType && !arrival.pair_peer;
      test ? probes->on_value(value, arrival.at_short_key ? 1 : 0) : door->knock(*value, arrival);
    }
    return true;
  };
  return {key, heard, nullptr, true, arrival.pair_peer};
}

// What others put for us at our own node is taken as it comes, not kept: OpenDHT would look through all of it at each
// one that follows, and strangers can send a thousand a second.
dht::ValueType DhtClient::Impl::user_data_type() const {
  dht::ValueType type = kept_type(dht::ValueType::USER_DATA);
  type.storePolicy = [door = intake_->door(), keys = request_keys_, others = type.storePolicy](
                         dht::InfoHash key, std::shared_ptr<dht::Value>& value, const dht::InfoHash& from,
                         const dht::SockAddr& address) {
    if (key != keys[0] && key != keys[1]) return others(key, value, from, address);
    door->knock(*value, Arrival{key == keys[1], std::nullopt});
    return false;
  };
  return type;
}

/// It is given all that is kept, and what the node before had not finished.
void DhtClient::Impl::begin_node() {
  kept_->give();
  chains_->take_up();
  devices_->take_up();
  records_->take_up();
  sender_->take_up();
  reach_->on_node_made();
}

// ---- whether it is reached ----

void DhtClient::Impl::network_changed() {
  if (ending_ || closed_) return;
  node_->network_changed();
  status_.seen_at.network_changed();
  stats_timer_.arm_in(kNewsOfAddresses);
  reach_->on_sign();
}

void DhtClient::Impl::wake_all() {
  if (!node_->can_ask()) return;
  node_->greet();
  if (status_.state != DhtState::kConnected) return node_->ask_bootstrap();
  kept_->ask_all();
}

/// The values come back by the listens, and only through another node (ReachProbes::let_it_come_back).
void DhtClient::Impl::begin_test() {
  if (!node_->can_ask()) return;
  probes_pending_ = 0b11;
  for (std::size_t i = 0; i < request_keys_.size(); ++i) node_->send_home(request_keys_[i], probes_->make(i));
}

void DhtClient::Impl::on_probe(std::size_t key) {
  probes_pending_ &= ~(1u << key);
  if (probes_pending_ == 0) reach_->on_test_passed();
}

void DhtClient::Impl::renew() {
  on_status(dht::NodeStatus::Disconnected, dht::NodeStatus::Disconnected);
  probes_->forget();
  node_->renew();
}

void DhtClient::Impl::expect_answer(const proto::DeviceId& peer) {
  answers_.on_request(peer, loop_.now());
  answer_timer_.arm(answers_.next_deadline());
}

void DhtClient::Impl::look_for_answers() {
  const bool due = answers_.due(loop_.now());
  answer_timer_.arm(answers_.next_deadline());
  if (due && !ending_) kept_->look_for(answers_);
}

// ---- status ----

void DhtClient::Impl::on_status(dht::NodeStatus v4, dht::NodeStatus v6) {
  status_.state4 = state_of(v4);
  status_.state6 = state_of(v6);
  const DhtState state = std::max(status_.state4, status_.state6);
  if (state == status_.state || closed_) return;
  node_->set_connected(state == DhtState::kConnected);
  status_.state = state;
  reach_->on_connected(state == DhtState::kConnected);
  ask_stats();
  if (const auto call = handlers_.on_state) call(state);  // a copy, as above
}

void DhtClient::Impl::ask_stats() {
  if (ending_ || closed_) return;
  stats_timer_.arm_in(kDhtStatsInterval);
  node_->ask_stats();
}

void DhtClient::Impl::on_stats(const dht::NodeInfo& info) {
  status_.nodes4 = counts_of(info.ipv4);
  status_.nodes6 = counts_of(info.ipv6);
  status_.stored_values = info.storage_values;
  status_.stored_bytes = info.storage_size;
  const unsigned good = status_.nodes4.good + status_.nodes6.good;
  if (good > 0) node_->remember_nodes();
  good < kFewNodes ? node_->ask_bootstrap() : node_->forget_unresolved();
}

const DhtStatus& DhtClient::Impl::status() {
  status_.lookups = chains_->begun();
  status_.requests_received = intake_->received();
  status_.requests_ignored = intake_->door()->ignored();
  status_.requests_dropped = intake_->door()->dropped();
  status_.log_lines_dropped = log_->dropped();
  const Reachability& reach = reach_->now();
  status_.reach = reach.state();
  status_.reach_since = reach.since();
  status_.last_reached = reach.last_passed();
  status_.self_tests = reach.tests();
  status_.node_renewals = reach.renewals();
  status_.gate = node_->port().counters();
  status_.lan = node_->bootstrap().lan_counters();
  status_.unresolved = node_->bootstrap().unresolved();
  return status_;
}

// ---- the end ----

void DhtClient::Impl::shutdown(std::function<void()> done) {
  assert(!ending_);
  ending_ = true;
  stats_timer_.stop();
  answer_timer_.stop();
  reach_->stop();
  intake_->stop();
  chains_->stop();
  devices_->stop();
  records_->stop();
  sender_->stop();
  DhtPoster(loop_, weak_from_this()).post([this] { end_pending(); });
  node_->end([this, done = std::move(done)] {
    status_.state = status_.state4 = status_.state6 = DhtState::kDisconnected;
    done();
  });
}

/// Each callback may destroy the client, which then has nothing pending.
void DhtClient::Impl::end_pending() {
  chains_->end_all();
  devices_->end_all();
  records_->end_all();
  sender_->end_all();
}

void DhtClient::Impl::close() {
  closed_ = true;
  intake_->stop();
  reach_->stop();
  node_->close();
  chains_->clear();
  devices_->clear();
  records_->clear();
  sender_->clear();
  stats_timer_.stop();
  answer_timer_.stop();
  handlers_ = {};
}

// ---- the public face ----

DhtClient::DhtClient(Loop& loop, const DhtConfig& config, DhtHandlers handlers,
                     std::shared_ptr<const DhtBeginning> beginning)
    : impl_(std::make_shared<Impl>(loop, std::move(handlers))) {
  if (!beginning) beginning = read_dht_beginning(config);
  impl_->start(config, *beginning);
}

DhtClient::~DhtClient() {
  impl_->close();
}

void DhtClient::find_certificate(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                                 proto::TimePoint deadline, ChainUse use, ChainWanted wanted,
                                 std::function<void(std::optional<proto::CertificateChain>)> done) {
  impl_->chains().find(device, short_id, deadline, use, std::move(wanted), std::move(done));
}

void DhtClient::find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                             std::function<void(const std::optional<DhtDevice>&)> found) {
  impl_->devices().find(id, deadline, std::move(found));
}

void DhtClient::publish(const std::string& name, proto::Bytes data) {
  if (!impl_->ending()) impl_->kept().publish(name, data);
}

void DhtClient::find_published(const std::string& name, proto::TimePoint deadline,
                               std::function<void(const std::vector<proto::ByteVector>&)> done) {
  impl_->records().find(name, deadline, std::move(done));
}

void DhtClient::send_request(proto::Bytes peer_public_key_der, proto::Bytes body, RequestKeys keys,
                             std::function<void(bool)> done, const std::vector<proto::PairKey>& pair_keys) {
  impl_->sender().send(peer_public_key_der, body, keys, pair_keys, std::move(done));
}

void DhtClient::listen_pairs(const std::vector<proto::PairListen>& keys) {
  if (!impl_->ending()) impl_->kept().listen_pairs(keys);
}

void DhtClient::network_changed() {
  impl_->network_changed();
}

void DhtClient::network_stirred() {
  impl_->network_stirred();
}

void DhtClient::expect_answer(const proto::DeviceId& peer) {
  impl_->expect_answer(peer);
}

const DhtStatus& DhtClient::status() const {
  return impl_->status();
}

void DhtClient::shutdown(std::function<void()> done) {
  impl_->shutdown(std::move(done));
}

}  // namespace connd::daemon
