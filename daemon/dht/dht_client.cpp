// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/dht_client.h"

#include <algorithm>
#include <cassert>
#include <ctime>

#include "daemon/dht/dht_client_impl.h"

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
      config_(config),
      state_file_(config.state_file),
      ask_bootstrap_interval_(config.ask_bootstrap_interval),
      reach_(loop.now()),
      sleep_watch_(loop, [this](std::chrono::seconds) { network_stirred(); }),
      reach_timer_(loop, [this] { look_after(); }),
      traffic_timer_(loop, [this] { watch_traffic(); }),
      answer_timer_(loop, [this] { look_for_answers(); }),
      stats_timer_(loop, [this] { ask_stats(); }),
      save_timer_(loop, [this] { save(); }),
      grace_timer_(loop, [this] { on_shutdown(); }) {
  config_.device_key_pem.clear();
}

void DhtClient::Impl::start(const DhtConfig& config, const DhtBeginning& beginning) {
  const DhtKeys& keys = beginning.keys;
  make_bootstrap(config);
  key_ = beginning.seals;
  bridge_ = std::make_shared<Bridge>(loop_, weak_from_this());
  const auto opened = [this](const std::optional<IncomingRequest>& request) { on_opened(request); };
  public_opener_.emplace(loop_, keys.device.first, kPublicBudget, opened);
  pair_opener_.emplace(loop_, beginning.opens, kPairBudget, opened);
  const auto& certificate = *keys.device.second;
  node_id_ = node_id_of(certificate.getId());
  request_keys_ = {request_key(id_of<proto::DeviceId>(certificate.getLongId()).hex()),
                   request_key(id_of<proto::ShortDeviceId>(certificate.getId()).hex())};
  keep(request_listen(request_keys_[0], Arrival{}));
  keep(request_listen(request_keys_[1], Arrival{true, std::nullopt}));
  for (auto& [key, value] : published_values(keys)) {
    keep({key, {}, std::move(value)});
  }
  open_port();
  known_nodes_ = beginning.known_nodes;
  ask_bootstrap_at_ = loop_.now() + ask_bootstrap_interval_;
  make_node();
  watch_traffic();
  stats_timer_.arm_in(kDhtStatsInterval);
  save_timer_.arm_in(kSaveInterval);
}

dht::DhtRunner::Context DhtClient::Impl::context(std::unique_ptr<dht::net::DatagramSocket> socket) {
  dht::DhtRunner::Context out;
  out.sock = std::move(socket);
  out.statusChangedCallback = [bridge = bridge_, node = generation_](dht::NodeStatus v4, dht::NodeStatus v6) {
    bridge->status(node, v4, v6);
  };
  if (handlers_.on_log) {
    out.logger = std::make_shared<dht::Logger>(bridge_->logger(bridge_, DhtLogLevel::kError),
                                               bridge_->logger(bridge_, DhtLogLevel::kWarning),
                                               bridge_->logger(bridge_, DhtLogLevel::kDebug));
  }
  return out;
}

/// Where any port will do it is the same after each start, as the node's id is, if it is free: who knew us before finds
/// us there, and nobody waits a second for an answer from where we were.
void DhtClient::Impl::open_port() {
  DhtSocketConfig socket;
  socket.port = config_.port != 0 ? config_.port : usual_port(node_id_);
  socket.bind4 = config_.bind4;
  socket.bind6 = config_.bind6;
  socket.node_id = node_id_;
  socket.network = kDhtNetwork;
  for (const DhtKept& kept : kept_) {
    if (kept.put && kept.put->isSigned()) socket.signed_ids.push_back(kept.put->id);
  }
  socket.keep.max_value_bytes = config_.max_value_bytes;
  socket.keep.nothing = config_.keep_nothing;
  for (const dht::InfoHash& key : request_keys_) {
    std::copy_n(key.data(), key.size(), socket.keep.own_keys.emplace_back().begin());
  }
  try {
    port_ = std::make_shared<DhtPort>(socket);
  } catch (const std::runtime_error&) {
    if (config_.port != 0) throw;
    socket.port = 0;
    port_ = std::make_shared<DhtPort>(socket);
  }
  status_.port4 = port_->bound(AF_INET) ? port_->bound(AF_INET).getPort() : std::uint16_t{0};
  status_.port6 = port_->bound(AF_INET6) ? port_->bound(AF_INET6).getPort() : std::uint16_t{0};
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
    if (node_) node_->runner.bootstrap(dht::SockAddr(address.storage, address.length), [](bool) {});
  };
  callbacks.begun = [this] { begin_node(); };
  bootstrap_ = std::make_unique<DhtBootstrap>(loop_, std::move(places), std::move(callbacks));
}

/// From now on each node of ours has it.
void DhtClient::Impl::keep(DhtKept kept) {
  if (can_ask()) node_->keep(kept);
  kept_.push_back(std::move(kept));
}

DhtKept DhtClient::Impl::request_listen(const dht::InfoHash& key, const Arrival& arrival) const {
  const auto heard = [bridge = bridge_, arrival](const DhtValues& values, bool expired) {
    return bridge->requests(values, expired, arrival);
  };
  return {key, heard, nullptr, true, arrival.pair_peer};
}

// What others put for us at our own node is taken as it comes, not kept: OpenDHT would look through all of it at each
// one that follows, and strangers can send a thousand a second.
dht::ValueType DhtClient::Impl::user_data_type() const {
  dht::ValueType type = kept_type(dht::ValueType::USER_DATA);
  type.storePolicy = [bridge = bridge_, keys = request_keys_, others = type.storePolicy](
                         dht::InfoHash key, std::shared_ptr<dht::Value>& value, const dht::InfoHash& from,
                         const dht::SockAddr& address) {
    if (key != keys[0] && key != keys[1]) return others(key, value, from, address);
    bridge->request(*value, Arrival{key == keys[1], std::nullopt});
    return false;
  };
  return type;
}

void DhtClient::Impl::send_request(proto::Bytes key_der, proto::Bytes body, RequestKeys keys,
                                   std::function<void(bool)> done, const std::vector<proto::PairKey>& pair_keys) {
  const bool room = unsent_.size() < kMaxUnsent && unsent_bytes_ + body.size() <= kMaxUnsentBytes;
  if (shutting_down_ || !room || body.size() > kMaxRequestBodyBytes) {
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
  unsent_bytes_ += job->body.size();
  unsent_.push_back({id, std::move(job)});
  begin_unsent();
}

void DhtClient::Impl::begin_unsent() {
  while (!unsent_.empty() && sends_.size() - unsent_.size() < kMaxSends) {
    const Unsent next = std::move(unsent_.front());
    unsent_.pop_front();
    unsent_bytes_ -= next.job->body.size();
    begin_send(next.id, next.job);
  }
}

void DhtClient::Impl::begin_send(std::uint64_t id, const std::shared_ptr<Sealing>& job) {
  loop_.post_work([job] { job->run(); },
                  [weak = weak_from_this(), job, id] {
                    if (const auto self = weak.lock()) self->on_sealing_done(id, job);
                  });
}

void DhtClient::Impl::on_sealing_done(std::uint64_t id, const std::shared_ptr<const Sealing>& sealed) {
  const auto found = sends_.find(id);
  if (found == sends_.end()) return;
  if (sealed->at.empty() || shutting_down_) {
    finish_send(id, false);
    return;
  }
  found->second.sealed = sealed;
  put_sealed(id);
}

void DhtClient::Impl::put_sealed(std::uint64_t id) {
  Send& send = sends_.at(id);
  const Sealing& sealed = *send.sealed;
  send.pending = static_cast<int>(sealed.at.size());
  if (!can_ask()) return;  // begin_node() comes back to it
  for (const auto& key : sealed.at) {
    auto value = std::make_shared<dht::Value>(sealed.id);  // one each: OpenDHT keeps and may edit it
    value->setCypher(dht::Blob(sealed.cypher));
    node_->send(key, std::move(value),
                dht::DoneCallback([bridge = bridge_, node = generation_, id](bool ok, const DhtNodes&) {
                  bridge->put_end(node, id, ok);
                }));
  }
}

void DhtClient::Impl::on_put_end(std::uint64_t id, bool ok) {
  const auto found = sends_.find(id);
  if (found == sends_.end()) return;
  if (ok || --found->second.pending == 0) finish_send(id, ok);
}

void DhtClient::Impl::finish_send(std::uint64_t id, bool ok) {
  const auto node = sends_.extract(id);
  begin_unsent();
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
  state == DhtState::kConnected ? reach_.on_connected(loop_.now()) : reach_.on_disconnected(loop_.now());
  look_after();
  ask_stats();
  const auto call = handlers_.on_state;
  if (call) call(state);
}

void DhtClient::Impl::ask_stats() {
  if (shutting_down_ || closed_) return;
  stats_timer_.arm_in(kDhtStatsInterval);
  if (!node_) return;
  node_->runner.getNodeInfo([bridge = bridge_](std::shared_ptr<dht::NodeInfo> info) { bridge->stats(info); });
  node_->runner.getPublicAddress(
      [bridge = bridge_](std::vector<dht::SockAddr>&& addresses) { bridge->public_addresses(addresses); });
}

void DhtClient::Impl::on_stats(const dht::NodeInfo& info) {
  status_.nodes4 = counts_of(info.ipv4);
  status_.nodes6 = counts_of(info.ipv6);
  status_.stored_values = info.storage_values;
  status_.stored_bytes = info.storage_size;
  if (status_.nodes4.good + status_.nodes6.good > 0) remember_nodes();
  if (status_.nodes4.good + status_.nodes6.good < kFewNodes) return ask_bootstrap();
  bootstrap_->forget_unresolved();
}

void DhtClient::Impl::ask_bootstrap() {
  if (shutting_down_ || loop_.now() < ask_bootstrap_at_) return;
  ask_bootstrap_at_ = loop_.now() + ask_bootstrap_interval_;
  bootstrap_->ask_again();
}

const DhtStatus& DhtClient::Impl::status() {
  status_.requests_ignored = bridge_->ignored.load();
  status_.requests_dropped = bridge_->dropped.load();
  status_.log_lines_dropped = bridge_->dropped_lines.load();
  status_.reach = reach_.state();
  status_.reach_since = reach_.since();
  status_.last_reached = reach_.last_passed();
  status_.self_tests = reach_.tests();
  status_.node_renewals = reach_.renewals();
  status_.gate = port_->counters();
  status_.lan = bootstrap_->lan_counters();
  status_.unresolved = bootstrap_->unresolved();
  return status_;
}

void DhtClient::Impl::save() {
  save_timer_.arm_in(kSaveInterval);
  if (!node_) return;
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
  reach_timer_.stop();
  traffic_timer_.stop();
  answer_timer_.stop();
  bootstrap_->stop();
  public_opener_->stop();
  pair_opener_->stop();
  later([](Impl& self) { self.end_pending(); });
  if (!node_) {
    // The last one has ended, or make_node_again() goes on from here.
    if (!ending_) later([](Impl& self) { self.finish_shutdown(); });
    return;
  }
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
  while (!record_searches_.empty()) finish_record_search(record_searches_.begin()->first);
  unsent_.clear();
  unsent_bytes_ = 0;
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
  if (public_opener_) public_opener_->stop();
  if (pair_opener_) pair_opener_->stop();
  // While a node is made anew there is none, but the one before that ends.
  if (node_) node_->join();
  if (ending_) ending_->join();
  lookups_.clear();
  record_searches_.clear();
  device_searches_.clear();
  unsent_.clear();
  sends_.clear();
  stats_timer_.stop();
  save_timer_.stop();
  grace_timer_.stop();
  reach_timer_.stop();
  traffic_timer_.stop();
  answer_timer_.stop();
  handlers_ = {};
  shutdown_done_ = {};
}

// --- the public face
// ----------------------------------------------------------------------------------------------------

DhtClient::DhtClient(Loop& loop, const DhtConfig& config, DhtHandlers handlers,
                     std::shared_ptr<const DhtBeginning> beginning)
    : impl_(std::make_shared<Impl>(loop, config, std::move(handlers))) {
  if (!beginning) beginning = read_dht_beginning(config);
  impl_->start(config, *beginning);
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

void DhtClient::listen_pairs(const std::vector<proto::PairListen>& keys) {
  impl_->listen_pairs(keys);
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
