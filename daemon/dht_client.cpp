// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht_client.h"

#include <algorithm>
#include <cassert>
#include <ctime>

#include "daemon/dht_client_impl.h"

namespace connd::daemon {
namespace {

constexpr proto::Duration kSaveInterval = std::chrono::minutes(10);
/// With fewer nodes than a value is kept at (OpenDHT: 8) it may be that we are in a part of the network that lost the
/// rest, as two nodes are that hold on to each other while their bootstrap is away. OpenDHT asks that again only when
/// it knows nobody at all.
constexpr unsigned kFewNodes = 8;

/// What strangers can make us spend on opening requests: a quarter of one core's time, and at once 2 s of it, or some
/// 250 requests with a key of 4,096 bits.
constexpr RequestOpener::Budget kPublicBudget{kMaxWaitingRequests, 4, std::chrono::seconds(8)};
/// What peers, and storage nodes that see their keys, can: a tenth, and half a second at once, or some 60 requests.
constexpr RequestOpener::Budget kPairBudget{kMaxWaitingPairRequests, 10, std::chrono::seconds(5)};

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

DhtClient::Impl::Impl(Loop& loop, const DhtConfig& config, DhtHandlers handlers)
    : loop_(loop),
      handlers_(std::move(handlers)),
      state_file_(config.state_file),
      ask_bootstrap_interval_(config.ask_bootstrap_interval),
      node_(std::make_shared<DhtNode>()),
      stats_timer_(loop, [this] { ask_stats(); }),
      save_timer_(loop, [this] { save(); }),
      grace_timer_(loop, [this] { on_shutdown(); }) {}

void DhtClient::Impl::start(const DhtConfig& config) {
  const DhtKeys keys = load_dht_keys(config);
  const dht::InfoHash node_id = node_id_of(keys.device.second->getId());
  make_bootstrap(config);
  auto socket = open_socket(config, node_id);
  status_.port4 = socket->hasIPv4() ? socket->getPort(AF_INET) : std::uint16_t{0};
  status_.port6 = socket->hasIPv6() ? socket->getPort(AF_INET6) : std::uint16_t{0};

  key_ = std::make_shared<dht::crypto::PrivateKey>(std::string_view(config.device_key_pem));
  bridge_ = std::make_shared<Bridge>(loop_, weak_from_this());
  const auto opened = [this](const std::optional<IncomingRequest>& request) { on_opened(request); };
  public_opener_.emplace(loop_, keys.device.first, kPublicBudget, opened);
  pair_opener_.emplace(loop_, std::make_shared<dht::crypto::PrivateKey>(std::string_view(config.device_key_pem)),
                       kPairBudget, opened);
  auto& runner = node_->runner;
  runner.run(dht_runner_config(config, node_id), context(std::move(socket)));
  runner.forwardAllMessages(true);  // a node without a key drops what is encrypted, else
  const KeepRules keep{config.max_value_bytes, config.keep_nothing};
  for (const auto& type : kept_types(keep)) runner.registerType(type);
  const auto& certificate = *keys.device.second;
  const auto long_key = request_key(id_of<proto::DeviceId>(certificate.getLongId()).hex());
  const auto short_key = request_key(id_of<proto::ShortDeviceId>(certificate.getId()).hex());
  runner.registerType(user_data_type(long_key, short_key, keep));
  begin_bootstrap(config, node_id);
  listen(long_key, Arrival{});
  listen(short_key, Arrival{true, std::nullopt});
  publish(keys);
  stats_timer_.arm_in(kDhtStatsInterval);
  save_timer_.arm_in(kSaveInterval);
  ask_bootstrap_at_ = loop_.now() + ask_bootstrap_interval_;
}

dht::DhtRunner::Context DhtClient::Impl::context(std::unique_ptr<dht::net::DatagramSocket> socket) {
  dht::DhtRunner::Context out;
  out.sock = std::move(socket);
  out.statusChangedCallback = [bridge = bridge_](dht::NodeStatus v4, dht::NodeStatus v6) { bridge->status(v4, v6); };
  if (handlers_.on_log) {
    out.logger = std::make_shared<dht::Logger>(bridge_->logger(bridge_, DhtLogLevel::kError),
                                               bridge_->logger(bridge_, DhtLogLevel::kWarning),
                                               bridge_->logger(bridge_, DhtLogLevel::kDebug));
  }
  return out;
}

std::unique_ptr<dht::net::DatagramSocket> DhtClient::Impl::open_socket(const DhtConfig& config,
                                                                       const dht::InfoHash& node_id) {
  DhtSocketConfig socket;
  socket.port = config.port;
  socket.bind4 = config.bind4;
  socket.bind6 = config.bind6;
  socket.node_id = node_id;
  socket.network = kDhtNetwork;
  port_ = std::make_shared<DhtPort>(socket);
  return std::make_unique<DhtSocket>(port_);
}

void DhtClient::Impl::make_bootstrap(const DhtConfig& config) {
  std::vector<DhtBootstrap::Place> places;
  for (const auto& text : config.bootstrap) {
    auto [host, port] = parse_bootstrap(text);
    places.push_back({std::move(host), std::move(port)});
  }
  DhtBootstrap::Callbacks callbacks;
  callbacks.ping = [this](const SocketAddress& address) {
    // OpenDHT calls what it is given also when the node has ended.
    node_->runner.bootstrap(dht::SockAddr(address.storage, address.length), [](bool) {});
  };
  callbacks.begun = [this] { tell_held(); };
  bootstrap_ = std::make_unique<DhtBootstrap>(loop_, std::move(places), std::move(callbacks));
}

void DhtClient::Impl::begin_bootstrap(const DhtConfig& config, const dht::InfoHash& node_id) {
  std::optional<LanDiscoveryConfig> lan;
  if (config.lan_discovery) {
    lan.emplace();
    std::copy_n(node_id.data(), lan->node_id.size(), lan->node_id.begin());
    lan->network = kDhtNetwork;
    lan->port4 = status_.port4;
    lan->port6 = status_.port6;
  }
  auto nodes = load_known_nodes(state_file_);
  holding_ = !bootstrap_->start(lan) && nodes.empty();
  if (!nodes.empty()) node_->runner.bootstrap(std::move(nodes));
}

void DhtClient::Impl::tell_node(std::function<void()> task) {
  if (!holding_) return task();
  held_.push_back(std::move(task));
}

void DhtClient::Impl::tell_held() {
  holding_ = false;
  for (const auto& task : std::exchange(held_, {})) task();
}

void DhtClient::Impl::publish(const DhtKeys& keys) {
  for (auto& [key, value] : published_values(keys)) {
    tell_node([this, key = key, value = std::make_shared<dht::Value>(std::move(value))] {
      node_->runner.put(key, value, dht::DoneCallback{}, dht::time_point::max(), true);
    });
  }
}

// What others put for us at our own node is taken as it comes, not kept: OpenDHT would look through all of it at each
// one that follows, and strangers can send a thousand a second.
dht::ValueType DhtClient::Impl::user_data_type(const dht::InfoHash& long_key, const dht::InfoHash& short_key,
                                               const KeepRules& keep) const {
  dht::ValueType type = kept_type(dht::ValueType::USER_DATA, keep);
  type.storePolicy = [bridge = bridge_, long_key, short_key, others = type.storePolicy](
                         dht::InfoHash key, std::shared_ptr<dht::Value>& value, const dht::InfoHash& from,
                         const dht::SockAddr& address) {
    if (key != long_key && key != short_key) return others(key, value, from, address);
    bridge->request(*value, Arrival{key == short_key, std::nullopt});
    return false;
  };
  return type;
}

void DhtClient::Impl::send_request(proto::Bytes key_der, proto::Bytes body, RequestKeys keys,
                                   std::function<void(bool)> done, const std::vector<proto::PairKey>& pair_keys) {
  if (shutting_down_ || sends_.size() >= kMaxSends || body.size() > kMaxRequestBodyBytes) {
    later([done = std::move(done)](Impl&) { done(false); });
    return;
  }
  const std::uint64_t id = next_id_++;
  sends_[id].done = std::move(done);
  // Signing costs 1 to 5 ms: not the loop's, and once for both keys.
  auto job = std::make_shared<Sealing>();
  job->key = key_;
  job->peer_key_der.assign(key_der.begin(), key_der.end());
  job->body.assign(body.begin(), body.end());
  job->keys = keys;
  for (const proto::PairKey& key : pair_keys) job->at.push_back(hash_of(key));
  loop_.post_work([job] { job->run(); },
                  [weak = weak_from_this(), job, id] {
                    if (const auto self = weak.lock()) self->put_sealed(id, *job);
                  });
}

void DhtClient::Impl::put_sealed(std::uint64_t id, const Sealing& sealed) {
  const auto found = sends_.find(id);
  if (found == sends_.end()) return;
  if (sealed.at.empty() || shutting_down_) {
    finish_send(id, false);
    return;
  }
  found->second.pending = static_cast<int>(sealed.at.size());
  for (const auto& key : sealed.at) {
    auto value = std::make_shared<dht::Value>(sealed.id);  // one each: OpenDHT keeps and may edit it
    value->setCypher(dht::Blob(sealed.cypher));
    tell_node([this, key, id, value] {
      node_->runner.put(
          key, value, dht::DoneCallback([bridge = bridge_, id](bool ok, const DhtNodes&) { bridge->put_end(id, ok); }));
    });
  }
}

void DhtClient::Impl::on_put_end(std::uint64_t id, bool ok) {
  const auto found = sends_.find(id);
  if (found == sends_.end()) return;
  if (ok || --found->second.pending == 0) finish_send(id, ok);
}

void DhtClient::Impl::finish_send(std::uint64_t id, bool ok) {
  const auto node = sends_.extract(id);
  if (node) node.mapped().done(ok);
}

void DhtClient::Impl::on_sealed(SealedRequest sealed) {
  const bool by_pair = sealed.arrival.pair_peer.has_value();
  --(by_pair ? bridge_->waiting_pair_requests : bridge_->waiting_requests);
  if (shutting_down_ || closed_) return;
  if (!(by_pair ? pair_opener_ : public_opener_)->add(std::move(sealed))) ++bridge_->dropped;
}

void DhtClient::Impl::on_opened(const std::optional<IncomingRequest>& request) {
  if (closed_ || shutting_down_) return;
  if (!request) {
    ++bridge_->ignored;
    return;
  }
  ++status_.requests_received;
  const auto call = handlers_.on_request;  // a copy: the callback may destroy the client
  if (call) call(*request);
}

void DhtClient::Impl::on_log(DhtLogLevel level, const std::string& line) {
  const auto call = handlers_.on_log;
  if (call) call(level, line);
}

void DhtClient::Impl::on_status(dht::NodeStatus v4, dht::NodeStatus v6) {
  status_.state4 = state_of(v4);
  status_.state6 = state_of(v6);
  const DhtState state = std::max(status_.state4, status_.state6);
  if (state == status_.state || closed_) return;
  bootstrap_->set_connected(state == DhtState::kConnected);
  status_.state = state;
  ask_stats();
  const auto call = handlers_.on_state;
  if (call) call(state);
}

void DhtClient::Impl::ask_stats() {
  if (shutting_down_ || closed_) return;
  stats_timer_.arm_in(kDhtStatsInterval);
  node_->runner.getNodeInfo([bridge = bridge_](std::shared_ptr<dht::NodeInfo> info) { bridge->stats(info); });
}

void DhtClient::Impl::on_stats(const dht::NodeInfo& info) {
  status_.nodes4 = counts_of(info.ipv4);
  status_.nodes6 = counts_of(info.ipv6);
  status_.stored_values = info.storage_values;
  status_.stored_bytes = info.storage_size;
  if (status_.nodes4.good + status_.nodes6.good < kFewNodes) return ask_bootstrap();
  bootstrap_->forget_unresolved();
}

void DhtClient::Impl::ask_bootstrap() {
  if (shutting_down_ || loop_.now() < ask_bootstrap_at_) return;
  ask_bootstrap_at_ = loop_.now() + ask_bootstrap_interval_;
  bootstrap_->ask_again();
}

void DhtClient::Impl::network_changed() {
  port_->on_network_changed();
  node_->runner.connectivityChanged();
  bootstrap_->network_changed();
}

const DhtStatus& DhtClient::Impl::status() {
  status_.requests_ignored = bridge_->ignored.load();
  status_.requests_dropped = bridge_->dropped.load();
  status_.log_lines_dropped = bridge_->dropped_lines.load();
  status_.gate = port_->counters();
  status_.lan = bootstrap_->lan_counters();
  status_.unresolved = bootstrap_->unresolved();
  return status_;
}

void DhtClient::Impl::save() {
  save_timer_.arm_in(kSaveInterval);
  loop_.post_work([node = node_, path = state_file_] { save_known_nodes(node->runner, path); }, [] {});
}

// --- the end
// ------------------------------------------------------------------------------------------------------------

void DhtClient::Impl::shutdown(std::function<void()> done) {
  assert(!shutting_down_);
  shutting_down_ = true;
  bridge_->ending = true;
  shutdown_done_ = std::move(done);
  stats_timer_.stop();
  save_timer_.stop();
  bootstrap_->stop();
  held_.clear();
  public_opener_->stop();
  pair_opener_->stop();
  later([](Impl& self) { self.end_pending(); });
  grace_timer_.arm_in(kDhtShutdownGrace);
  // Saving and asking for the end may wait for OpenDHT's lock.
  loop_.post_work([node = node_, bridge = bridge_, path = state_file_] { end_node(*node, bridge, path); }, [] {});
}

void DhtClient::Impl::end_node(DhtNode& node, const std::shared_ptr<Bridge>& bridge,
                               const std::filesystem::path& state_file) {
  save_known_nodes(node.runner, state_file);
  node.runner.shutdown([bridge] { bridge->shut_down(); });
}

/// Each callback may destroy the client, which then has nothing pending.
void DhtClient::Impl::end_pending() {
  while (!lookups_.empty()) finish_lookup(lookups_.begin()->first, std::nullopt);
  while (!device_searches_.empty()) finish_device_search(device_searches_.begin()->first);
  while (!sends_.empty()) finish_send(sends_.begin()->first, false);
}

/// OpenDHT is through, or its time is.
void DhtClient::Impl::on_shutdown() {
  if (joining_ || closed_) return;
  joining_ = true;
  grace_timer_.stop();
  loop_.post_work([node = node_] { node->join(); },
                  [weak = weak_from_this()] {
                    if (const auto self = weak.lock()) self->finish_shutdown();
                  });
}

void DhtClient::Impl::finish_shutdown() {
  status_.state = status_.state4 = status_.state6 = DhtState::kDisconnected;
  const auto done = std::move(shutdown_done_);
  if (done) done();
}

void DhtClient::Impl::close() {
  closed_ = true;
  if (bootstrap_) bootstrap_->stop();
  held_.clear();
  if (public_opener_) public_opener_->stop();
  if (pair_opener_) pair_opener_->stop();
  node_->join();
  lookups_.clear();
  device_searches_.clear();
  sends_.clear();
  stats_timer_.stop();
  save_timer_.stop();
  grace_timer_.stop();
  handlers_ = {};
  shutdown_done_ = {};
}

// --- the public face
// ----------------------------------------------------------------------------------------------------

DhtClient::DhtClient(Loop& loop, const DhtConfig& config, DhtHandlers handlers)
    : impl_(std::make_shared<Impl>(loop, config, std::move(handlers))) {
  impl_->start(config);
}

DhtClient::~DhtClient() {
  impl_->close();
}

void DhtClient::find_certificate(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id,
                                 proto::TimePoint deadline, ChainUse use, ChainWanted wanted,
                                 std::function<void(std::optional<proto::CertificateChain>)> done) {
  impl_->find_certificate(device, short_id, deadline, use, std::move(wanted), std::move(done));
}

void DhtClient::find_devices(const proto::AccountId& id, proto::TimePoint deadline,
                             std::function<void(const std::optional<DhtDevice>&)> found) {
  impl_->find_devices(id, deadline, std::move(found));
}

void DhtClient::send_request(proto::Bytes peer_public_key_der, proto::Bytes body, RequestKeys keys,
                             std::function<void(bool)> done, const std::vector<proto::PairKey>& pair_keys) {
  impl_->send_request(peer_public_key_der, body, keys, std::move(done), pair_keys);
}

void DhtClient::listen_pairs(const std::vector<PairListen>& keys) {
  impl_->listen_pairs(keys);
}

void DhtClient::network_changed() {
  impl_->network_changed();
}

const DhtStatus& DhtClient::status() const {
  return impl_->status();
}

void DhtClient::shutdown(std::function<void()> done) {
  impl_->shutdown(std::move(done));
}

}  // namespace connd::daemon
