// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/node_life.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <sys/socket.h>

namespace connd::daemon {
namespace {

constexpr proto::Duration kSaveInterval = std::chrono::minutes(10);

/// Without their ports.
std::vector<std::string> texts_of(const std::vector<dht::SockAddr>& addresses) {
  std::vector<std::string> texts;
  for (const dht::SockAddr& address : addresses) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* raw = address.getFamily() == AF_INET ? static_cast<const void*>(&address.getIPv4().sin_addr)
                                                     : &address.getIPv6().sin6_addr;
    if (inet_ntop(address.getFamily(), raw, text.data(), text.size()) != nullptr) texts.emplace_back(text.data());
  }
  return texts;
}

}  // namespace

/// Where any port will do it is the same after each start, as the node's id is, if it is free: who knew us before finds
/// us there, and nobody waits a second for an answer from where we were.
std::shared_ptr<DhtPort> open_dht_port(const DhtConfig& config, const dht::InfoHash& node_id,
                                       const std::array<dht::InfoHash, 2>& own_keys,
                                       const std::vector<std::uint64_t>& signed_ids) {
  DhtSocketConfig socket;
  socket.port = config.port != 0 ? config.port : usual_port(node_id);
  socket.bind4 = config.bind4;
  socket.bind6 = config.bind6;
  socket.node_id = node_id;
  socket.network = kDhtNetwork;
  socket.signed_ids = signed_ids;
  socket.keep.max_value_bytes = config.max_value_bytes;
  socket.keep.nothing = config.keep_nothing;
  for (const dht::InfoHash& key : own_keys) {
    std::copy_n(key.data(), key.size(), socket.keep.own_keys.emplace_back().begin());
  }
  try {
    return std::make_shared<DhtPort>(socket);
  } catch (const std::runtime_error&) {
    if (config.port != 0) throw;
    socket.port = 0;
    return std::make_shared<DhtPort>(socket);
  }
}

NodeLife::NodeLife(Loop& loop, DhtPoster poster, const DhtConfig& config, Callbacks callbacks)
    : loop_(loop),
      poster_(std::move(poster)),
      config_(config),
      callbacks_(std::move(callbacks)),
      bootstrap_(loop, places_of(config),
                 {[this](const SocketAddress& address) { ping(address); }, [this] { begin_node(); }}),
      ask_bootstrap_at_(loop.now() + config.ask_bootstrap_interval),
      save_timer_(loop, [this] { save(); }),
      grace_timer_(loop, [this] { join(); }) {
  config_.device_key_pem.clear();
}

std::vector<DhtBootstrap::Place> NodeLife::places_of(const DhtConfig& config) {
  std::vector<DhtBootstrap::Place> places;
  for (const auto& text : config.bootstrap) {
    auto [host, port] = parse_bootstrap(text);
    places.push_back({std::move(host), std::move(port)});
  }
  return places;
}

void NodeLife::ping(const SocketAddress& address) {
  // OpenDHT calls what it is given also when the node has ended.
  if (node_) node_->runner.bootstrap(dht::SockAddr(address.storage, address.length), [](bool) {});
}

std::uint16_t NodeLife::bound_port(sa_family_t family) const {
  const dht::SockAddr& bound = port().bound(family);
  return bound ? bound.getPort() : std::uint16_t{0};
}

void NodeLife::make(First first) {
  first_ = std::move(first);
  known_ = KnownNodes(std::move(first_.known));
  make_node();
  save_timer_.arm_in(kSaveInterval);
}

dht::DhtRunner::Context NodeLife::context() {
  dht::DhtRunner::Context out;
  out.sock = std::make_unique<DhtSocket>(first_.port);
  out.statusChangedCallback = [this, poster = poster_, node = generation_](dht::NodeStatus v4, dht::NodeStatus v6) {
    give_way();  // here for it is the first thing that the node's thread says
    poster.post([this, node, v4, v6] {
      if (node == generation_) callbacks_.status(v4, v6);
    });
  };
  out.logger = first_.logger;
  return out;
}

void NodeLife::make_node() {
  ++generation_;
  node_ = std::make_shared<DhtNode>();
  auto& runner = node_->runner;
  runner.run(dht_runner_config(config_, first_.node_id), context());
  runner.forwardAllMessages(true);  // a node without a key drops what is encrypted, else
  for (const auto& type : kept_types()) runner.registerType(type);
  for (const auto& type : first_.types) runner.registerType(type);
  std::optional<LanDiscoveryConfig> lan;
  if (config_.lan_discovery) {
    lan.emplace();
    std::copy_n(first_.node_id.data(), lan->node_id.size(), lan->node_id.begin());
    lan->network = kDhtNetwork;
    lan->port4 = bound_port(AF_INET);
    lan->port6 = bound_port(AF_INET6);
  }
  const bool somebody = bootstrap_.start(lan) || !known_.all().empty();
  if (!known_.all().empty()) runner.bootstrap(known_.all());
  if (somebody) begin_node();
}

/// It has somebody to begin with, or nobody in time.
void NodeLife::begin_node() {
  if (!node_ || begun_ == generation_) return;
  begun_ = generation_;
  callbacks_.begun();
}

/// Nothing is lost by it: what waits for an answer is asked anew, what we listen at and have put is the same, and so is
/// the port; channels do not run over it.
void NodeLife::renew() {
  if (phase_ != Phase::kLives || !node_) return;
  ++generation_;  // from here on it has nothing to say
  ending_ = std::move(node_);
  auto known = std::make_shared<std::vector<dht::NodeExport>>();  // the pool's, then the loop's
  poster_.work(
      [node = ending_, known] {
        *known = node->known();
        node->join();
      },
      [this, known] {
        ending_.reset();
        known_.take(std::move(*known));
        make_node_again();
      });
}

void NodeLife::make_node_again() {
  if (phase_ == Phase::kClosed) return;
  if (phase_ != Phase::kLives) return finish();
  make_node();
}

void NodeLife::remember_nodes() {
  if (!node_ || !known_.due(loop_.now())) return;
  auto known = std::make_shared<std::vector<dht::NodeExport>>();   // the pool's, then the loop's
  poster_.work([node = node_, known] { *known = node->known(); },  // waits for OpenDHT's lock
               [this, known] { known_.take(std::move(*known)); });
}

void NodeLife::save() {
  save_timer_.arm_in(kSaveInterval);
  if (!node_) return;
  loop_.post_work([node = node_, path = config_.state_file] { save_known_nodes(node->runner, path); }, [] {});
}

void NodeLife::ask_bootstrap() {
  if (phase_ != Phase::kLives || loop_.now() < ask_bootstrap_at_) return;
  ask_bootstrap_at_ = loop_.now() + config_.ask_bootstrap_interval;
  bootstrap_.ask_again();
}

void NodeLife::greet() {
  if (can_ask()) node_->greet(known_.some());
}

void NodeLife::ask_stats() {
  if (!node_) return;
  node_->runner.getNodeInfo([this, poster = poster_](const std::shared_ptr<dht::NodeInfo>& info) {
    if (!info) return;
    poster.post([this, info = *info] { callbacks_.stats(info); });
  });
  node_->runner.getPublicAddress([this, poster = poster_](const std::vector<dht::SockAddr>& addresses) {
    poster.post([this, texts = texts_of(addresses)] { callbacks_.seen_at(texts); });
  });
}

void NodeLife::network_changed() {
  first_.port->on_network_changed();
  bootstrap_.network_changed();
}

// ---- NodeUse ----

// Of one type, always: what our own node keeps under a key is checked on OpenDHT's thread, where nobody catches what a
// check throws; types that are not registered were stored without any check.
void NodeLife::get(const dht::InfoHash& key, dht::ValueType::Id type, dht::Value::Filter filter, Values values,
                   std::function<void()> over) {
  assert(can_ask());
  node_->runner.get(
      key, dht::GetCallback(std::move(values)),
      dht::DoneCallback([this, poster = poster_, node = generation_, over = std::move(over)](bool, const DhtNodes&) {
        poster.post([this, node, over] {
          if (node == generation_) over();
        });
      }),
      std::move(filter), dht::Where().valueType(type));
}

void NodeLife::send(const dht::InfoHash& key, std::shared_ptr<dht::Value> value, std::function<void(bool)> over) {
  assert(can_ask());
  node_->send(
      key, std::move(value),
      dht::DoneCallback([this, poster = poster_, node = generation_, over = std::move(over)](bool ok, const DhtNodes&) {
        poster.post([this, node, over, ok] {
          if (node == generation_) over(ok);
        });
      }));
}

void NodeLife::stop_listening(const dht::InfoHash& key) {
  if (node_) node_->stop_listening(key);
}

void NodeLife::stop_putting(const dht::InfoHash& key, dht::Value::Id id) {
  if (node_) node_->runner.cancelPut(key, id);
}

// ---- the end ----

void NodeLife::end(std::function<void()> done) {
  assert(phase_ == Phase::kLives);
  phase_ = Phase::kEnds;
  ended_ = std::move(done);
  save_timer_.stop();
  bootstrap_.stop();
  if (!node_) {
    // The last one has ended, or make_node_again() goes on from here.
    if (!ending_) poster_.post([this] { finish(); });
    return;
  }
  grace_timer_.arm_in(kDhtShutdownGrace);
  // Saving and asking for the end may wait for OpenDHT's lock.
  loop_.post_work(
      [this, poster = poster_, node = node_, path = config_.state_file] {
        save_known_nodes(node->runner, path);
        node->runner.shutdown([this, poster] { poster.post([this] { join(); }); });
      },
      [] {});
}

/// OpenDHT is through, or its time is.
void NodeLife::join() {
  if (phase_ != Phase::kEnds) return;
  phase_ = Phase::kJoins;
  grace_timer_.stop();
  poster_.work([node = node_] { node->join(); }, [this] { finish(); });
}

void NodeLife::finish() {
  const auto done = std::move(ended_);
  if (done) done();
}

void NodeLife::close() {
  phase_ = Phase::kClosed;
  bootstrap_.stop();
  // While a node is made anew there is none, but the one before that ends.
  if (node_) node_->join();
  if (ending_) ending_->join();
  save_timer_.stop();
  grace_timer_.stop();
  ended_ = {};
}

}  // namespace connd::daemon
