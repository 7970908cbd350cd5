// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/daemon/api_node.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "ipc/control_socket.h"

namespace connd::test {

using namespace daemon;

bool ApiWorld::run_until(const std::function<bool()>& done, std::chrono::seconds limit) {
  return world.run_until(
      [&] {
        for (std::size_t i = 0; i < clients.size(); ++i) clients[i]->process();
        return done();
      },
      limit);
}

// ---- ApiNode

ApiNode::ApiNode(ApiWorld& world, std::size_t identity, Options options)
    : id(node_identity(identity).chain.device_id()),
      chain(node_identity(identity).chain),
      stores(open_stores(dir.path())),
      disk(world.world.loop),
      world_(world),
      number_(identity),
      options_(std::move(options)) {
  auto listener = ControlListener::bind({path(), 0600, std::nullopt});
  REQUIRE(listener.ok());
  stores.use(disk, [this] {
    if (manager) manager->lists_changed();
  });
  const IpcServer::Context context{world.world.loop, stores, events, *this};
  server = std::make_unique<IpcServer>(context, options_.ipc, std::move(*listener));
  if (options_.manager) start_manager();
}

void ApiNode::start_manager() {
  World& world = world_.world;
  const ConnectionManager::Context context{world.context,  world.bridge,       *this, stores, events,
                                           server->apps(), server->questions()};
  ConnectionManager::Settings settings;
  settings.ice.local_addresses = {"127.0.0.1"};
  settings.ice.allow_loopback = true;
  settings.gate.policy = options_.policy;
  auto tls = proto::TlsContext::create(node_identity(number_));
  REQUIRE(tls.ok());
  manager = std::make_unique<ConnectionManager>(context, settings, id, std::move(*tls));
  server->set_manager(manager.get());
  world_.nodes[id] = this;
}

ApiNode::~ApiNode() {
  world_.nodes.erase(id);
  if (manager) {
    bool down = false;
    manager->shut_down([&] { down = true; });
    (void)world_.run_until([&] { return down; });
    server->set_manager(nullptr);
    manager.reset();
  }
  bool done = false;
  server->shut_down([&] { done = true; });
  (void)world_.run_until([&] { return done; });
}

void ApiNode::allow(const ApiNode& peer) {
  REQUIRE(stores.trust.allow(TrustSubject(peer.id), 1).ok());
}

void ApiNode::find_devices(const proto::AccountId& account, proto::TimePoint,
                           std::function<void(const std::optional<FoundDevice>&)> found) {
  std::vector<std::optional<FoundDevice>> devices;
  for (const auto& [device, node] : world_.nodes) {
    if (node->chain.account_id() != account) continue;
    devices.push_back(FoundDevice{device, node->chain.short_device_id(), node->chain.public_key_der()});
  }
  devices.emplace_back();
  world_.world.loop.post([world = &world_, self = id, devices = std::move(devices), found = std::move(found)] {
    for (const auto& device : devices) {
      if (world->nodes.count(self) != 0) found(device);
    }
  });
}

void ApiNode::find_chain(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>&, proto::TimePoint,
                         ChainUse, ChainWanted wanted,
                         std::function<void(std::optional<proto::CertificateChain>)> done) {
  const auto it = world_.nodes.find(device);
  std::optional<proto::CertificateChain> found;
  if (it != world_.nodes.end() && wanted(CheckedChain::of(it->second->chain, std::time(nullptr))))
    found = it->second->chain;
  world_.world.loop.post([world = &world_, self = id, found, done = std::move(done)] {
    if (world->nodes.count(self) != 0) done(found);
  });
}

void ApiNode::send(const SignalTarget& target, proto::Bytes body) {
  for (const auto& [to, node] : world_.nodes) {
    if (node->chain.public_key_der() != target.public_key) continue;
    const SignalMessage message{id, chain.public_key_der(), {body.begin(), body.end()}, false};
    world_.world.loop.post([world = &world_, to = to, message] {
      const auto it = world->nodes.find(to);
      if (it != world->nodes.end()) it->second->manager->on_signal(message);
    });
  }
}

std::optional<ipc::IdentityResult> ApiNode::identity() const {
  if (!manager) return std::nullopt;
  ipc::IdentityResult out;
  out.device = id.hex();
  out.short_device = chain.short_device_id().hex();
  out.account = chain.account_id().hex();
  out.ca = chain.ca_id().hex();
  out.chain = {chain.pem()};
  return out;
}

ipc::DaemonState ApiNode::state() const {
  return manager ? ipc::DaemonState::kReady : ipc::DaemonState::kStarting;
}

// ---- ApiClient

ipc::Fd connect_to(const std::string& path) {
  auto socket = ipc::connect_control_socket({path});
  REQUIRE(socket.ok());
  return std::move(*socket);
}

ApiClient::ApiClient(ApiWorld& world, const ApiNode& node)
    : world_(world), client_(std::make_unique<ipc::Client>(connect_to(node.path()))) {
  poll_ = std::make_unique<Poll>(world.world.loop, client_->fd(), [](int) {});
  poll_->want(Poll::kReadable);
  world.clients.push_back(this);
}

ApiClient::~ApiClient() {
  leave();
  world_.clients.erase(std::find(world_.clients.begin(), world_.clients.end(), this));
}

void ApiClient::leave() {
  opened.clear();
  requests.clear();
  poll_.reset();
  client_.reset();
}

void ApiClient::process() {
  if (!client_) return;
  client_->process();
  if (!client_->connected()) return poll_->want(0);
  poll_->want(Poll::kReadable | (client_->wants_write() ? Poll::kWritable : 0));
}

ipc::Outcome<ipc::Json> ApiClient::call(const std::string& method, ipc::Json params) {
  std::optional<ipc::Outcome<ipc::Json>> result;
  client_->call(method, std::move(params), [&](ipc::Outcome<ipc::Json> reply) { result = std::move(reply); });
  REQUIRE(world_.run_until([&] { return result.has_value(); }));
  return std::move(*result);
}

ipc::Reason ApiClient::reason_of(const std::string& method, ipc::Json params) {
  const auto result = call(method, std::move(params));
  return result.ok() ? ipc::Reason::kClosed : result.error().reason;
}

ipc::Outcome<ipc::ChannelSocket> ApiClient::open(const ApiNode& peer, const std::string& uri,
                                                 ipc::Client::OpenOptions options) {
  std::optional<ipc::Outcome<ipc::ChannelSocket>> result;
  client_->connect_device(
      peer.id.hex(), uri, [&](ipc::Outcome<ipc::ChannelSocket> channel) { result.emplace(std::move(channel)); },
      options);
  REQUIRE(world_.run_until([&] { return result.has_value(); }, std::chrono::seconds(60)));
  return std::move(*result);
}

std::uint64_t ApiClient::listen(const std::string& uri, ipc::Json peers) {
  const bool prefix = uri.ends_with('*');
  std::optional<ipc::Outcome<std::uint64_t>> result;
  client_->listen(
      prefix ? uri.substr(0, uri.size() - 1) : uri, {prefix, std::move(peers)},
      [this](ipc::ChannelSocket channel) { opened.push_back(std::move(channel)); },
      [&](ipc::Outcome<std::uint64_t> listener) { result = std::move(listener); });
  REQUIRE(world_.run_until([&] { return result.has_value(); }));
  REQUIRE(result->ok());
  return **result;
}

std::uint64_t ApiClient::listen_ask(const std::string& uri, ipc::Json peers) {
  std::optional<ipc::Outcome<std::uint64_t>> result;
  client_->listen_ask(
      uri, {false, std::move(peers)}, [this](ipc::IncomingRequest request) { requests.push_back(std::move(request)); },
      [&](ipc::Outcome<std::uint64_t> listener) { result = std::move(listener); });
  REQUIRE(world_.run_until([&] { return result.has_value(); }));
  REQUIRE(result->ok());
  return **result;
}

ipc::Snapshot ApiClient::subscribe() {
  std::optional<ipc::Outcome<ipc::Snapshot>> result;
  client_->on_event(
      [this](const ipc::Event& event, const ipc::Json& members) { seen.emplace_back(event.type, members); },
      [&](ipc::Outcome<ipc::Snapshot> snapshot) { result = std::move(snapshot); });
  REQUIRE(world_.run_until([&] { return result.has_value(); }));
  REQUIRE(result->ok());
  return **result;
}

std::vector<ipc::Json> ApiClient::seen_of(const std::string& type) const {
  std::vector<ipc::Json> out;
  for (const auto& [name, members] : seen) {
    if (name == type) out.push_back(members);
  }
  return out;
}

// ---- RawClient

RawClient::RawClient(ApiWorld& world, const std::string& path)
    : world_(world), socket_(connect_to(path)), poll_(world.world.loop, socket_.get(), [](int) {}) {
  REQUIRE(ipc::set_nonblocking(socket_.get()).ok());
  poll_.want(Poll::kReadable);
}

void RawClient::write(const std::string& bytes) {
  std::size_t done = 0;
  const bool in_time = world_.run_until([&] {
    ssize_t n = 0;
    while (done < bytes.size() && (n = ::send(fd(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL)) > 0) {
      done += static_cast<std::size_t>(n);
    }
    const bool failed = n < 0 && errno != EAGAIN;
    poll_.want(Poll::kReadable | (done < bytes.size() ? Poll::kWritable : 0));
    return done == bytes.size() || failed;
  });
  CHECK(in_time);
}

bool RawClient::read_some() {
  char chunk[65'536];
  ssize_t n = 0;
  while ((n = ::recv(fd(), chunk, sizeof chunk, 0)) > 0) buffer_.append(chunk, static_cast<std::size_t>(n));
  if (n == 0 || errno != EAGAIN) end_ = true;
  if (end_) poll_.want(0);
  return !buffer_.empty() || end_;
}

ipc::Json RawClient::line() {
  const auto whole = [this] { return (read_some() && buffer_.find('\n') != std::string::npos) || end_; };
  REQUIRE(world_.run_until(whole));
  const std::size_t lf = buffer_.find('\n');
  if (lf == std::string::npos) return nullptr;
  auto out = ipc::Json::parse(buffer_.substr(0, lf), nullptr, false);
  buffer_.erase(0, lf + 1);
  return out;
}

bool RawClient::closed() {
  return world_.run_until([this] { return read_some() && end_; });
}

void RawClient::shut_down_writing() {
  ::shutdown(fd(), SHUT_WR);
}

}  // namespace connd::test
