// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/daemon/manager_node.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include <catch2/catch.hpp>
#include <sys/socket.h>

namespace connd::test {
using namespace daemon;

const proto::Identity& node_identity(std::size_t i) {
  static std::map<std::size_t, proto::Identity> made;
  auto it = made.find(i);
  if (it != made.end()) return it->second;
  proto::IdentityOptions options;
  options.rsa_bits = 2048;
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  options.validity = {now - 3'600, now + 86'400};
  auto generated = proto::generate_identity(options);
  REQUIRE(generated.ok());
  auto loaded = proto::Identity::load(generated->device_key_pem.view(), generated->chain_pem);
  REQUIRE(loaded.ok());
  return made.emplace(i, std::move(*loaded)).first->second;
}

Stores open_stores(const std::string& dir) {
  auto stores = Stores::open(dir);
  REQUIRE(stores.ok());
  return std::move(*stores);
}

bool World::run_until(const std::function<bool()>& done, std::chrono::seconds limit) {
  bool late = false;
  Timer deadline(loop, [&] {
    late = true;
    loop.stop();
  });
  loop.update_now();  // the test may have taken its time, for keys above all
  deadline.arm_in(limit);
  done_ = done;
  if (!done()) loop.run();
  done_ = nullptr;
  return !late;
}

void Exchange::add(Node& node) {
  nodes[node.id] = &node;
}
void Exchange::remove(Node& node) {
  nodes.erase(node.id);
}

void Exchange::send(const proto::DeviceId& from, const proto::ByteVector& from_key, const SignalTarget& target,
                    proto::ByteVector body) {
  for (const auto& [id, node] : nodes) {
    if (node->public_key != target.public_key) continue;
    ++messages;
    if (filter && !filter(from, id, body)) return;
    const bool pair = std::any_of(target.pair_keys.begin(), target.pair_keys.end(), [&](const proto::PairKey& key) {
      return std::count(node->pair_listens.begin(), node->pair_listens.end(), proto::PairListen{key, from}) > 0;
    });
    const bool open = target.keys != SignalKeys::kNone && (!public_keys_work || public_keys_work(id));
    by_pair += pair ? 1 : 0;
    for (const bool by_pair_key : {true, false}) {
      if (!(by_pair_key ? pair : open)) continue;
      world_.loop.post([this, to = id, message = SignalMessage{from, from_key, body, false, by_pair_key}] {
        const auto it = nodes.find(to);
        if (it != nodes.end()) it->second->manager->on_signal(message);
      });
    }
    return;
  }
  if (outsiders.count(target.public_key) == 0) return;
  world_.loop.post([this, key = target.public_key, message = SignalMessage{from, from_key, std::move(body), false}] {
    if (const auto it = outsiders.find(key); it != outsiders.end()) it->second(message);
  });
}

namespace {
const proto::Identity& shown_by(std::size_t number, const Node::Options& options) {
  return options.shows != nullptr ? *options.shows : node_identity(number);
}
}  // namespace

Node::Node(Exchange& exchange, std::size_t number, const Options& options)
    : id(shown_by(number, options).chain.device_id()),
      public_key(shown_by(number, options).chain.public_key_der()),
      chain(shown_by(number, options).chain),
      exchange_(exchange),
      stores_(open_stores(options.state != nullptr ? options.state->path() : dir_.path())) {
  events_.set_sink(
      [this](const std::string& type, const nlohmann::json& data) { all_events.emplace_back(type, data); });
  World& world = exchange.world();
  const ConnectionManager::Context context{world.context, world.bridge, *this, stores_, events_, *this, *this};
  ConnectionManager::Settings settings;
  settings.limits = options.limits;
  settings.times = options.times;
  settings.mux.keepalive_interval = options.keepalive;
  settings.ice.local_addresses = {"127.0.0.1"};
  settings.ice.allow_loopback = true;
  settings.gate.policy = options.policy;
  settings.native = options.native;
  settings.clock = options.clock;
  if (options.shows_chain) settings.own_chain = chain.der();
  auto tls = proto::TlsContext::create(shown_by(number, options));
  REQUIRE(tls.ok());
  manager = std::make_unique<ConnectionManager>(context, settings, id, std::move(*tls));
  exchange.add(*this);
  world.loop.update_now();  // its keys were made meanwhile
}

Node::~Node() {
  exchange_.remove(*this);
  bool done = false;
  manager->shut_down([&] { done = true; });
  (void)exchange_.world().run_until([&] { return done; });
}

OpenResult Node::open(const Node& peer, const std::string& uri, bool unique, bool strict_end, proto::Duration timeout) {
  return open({peer.id, uri, unique, {strict_end}, timeout});
}

OpenResult Node::open_account(const proto::AccountId& account, const std::string& uri, const proto::DeviceId& device,
                              proto::Duration timeout) {
  return open({device, uri, false, {}, timeout, account});
}

OpenResult Node::open(const OpenRequest& request) {
  exchange_.world().loop.update_now();
  std::optional<OpenResult> result;
  auto started = manager->open(request, [&](OpenResult r) { result = std::move(r); });
  if (auto* error = std::get_if<OpenError>(&started)) return *error;
  REQUIRE(exchange_.world().run_until([&] { return result.has_value(); }, std::chrono::seconds(60)));
  return std::move(*result);
}

void Node::open_later(const Node& peer, const std::string& uri, std::vector<OpenResult>& results,
                      proto::Duration timeout, bool unique) {
  OpenRequest request{peer.id, uri, unique, {}, timeout};
  auto started = manager->open(request, [&results](OpenResult r) { results.push_back(std::move(r)); });
  if (auto* error = std::get_if<OpenError>(&started)) results.emplace_back(*error);
}

void Node::settle() {
  REQUIRE(exchange_.world().run_until([&] { return !stores_.requests.dirty() && !stores_.pairs.dirty(); }));
}

void Node::allow(const Node& peer) {
  allow(peer.id);
}
void Node::allow(const proto::DeviceId& peer) {
  REQUIRE(stores_.trust.allow(TrustSubject(peer), 1).ok());
  manager->trust_changed();
}
void Node::allow_account(const Node& peer) {
  REQUIRE(stores_.trust.allow(TrustSubject(TrustKind::kAccount, peer.chain.account_id()), 1).ok());
  manager->trust_changed();
}
void Node::ban(const Node& peer) {
  REQUIRE(stores_.trust.ban(TrustSubject(peer.id), 1).ok());
  manager->trust_changed();
}

void Node::unset(const Node& peer) {
  REQUIRE(stores_.trust.unset(TrustSubject(peer.id)).ok());
  manager->trust_changed();
}

std::size_t Node::events(const std::string& type) const {
  return static_cast<std::size_t>(
      std::count_if(all_events.begin(), all_events.end(), [&](const auto& e) { return e.first == type; }));
}

void Node::find_devices(const proto::AccountId& account, proto::TimePoint,
                        std::function<void(const std::optional<FoundDevice>&)> found) {
  std::vector<std::optional<FoundDevice>> devices;
  for (const auto& [device, node] : exchange_.nodes) {
    const proto::ShortDeviceId short_id = node->chain.short_device_id();
    const bool wanted = node->chain.account_id() == account || short_id.bytes == account.bytes;
    if (wanted && node->announced) devices.push_back(FoundDevice{device, short_id, node->public_key});
  }
  devices.emplace_back();
  exchange_.world().loop.post([this, self = id, devices = std::move(devices), found = std::move(found)] {
    for (const auto& device : devices) {
      if (exchange_.nodes.count(self) != 0) found(device);
    }
  });
}

void Node::find_chain(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>&, proto::TimePoint,
                      ChainUse, ChainWanted wanted, std::function<void(std::optional<proto::CertificateChain>)> done) {
  ++exchange_.lookups;
  std::vector<proto::CertificateChain> there = exchange_.planted;
  if (const auto it = exchange_.nodes.find(device); it != exchange_.nodes.end()) there.push_back(it->second->chain);
  exchange_.world().loop.post(
      [this, self = id, device, there = std::move(there), wanted = std::move(wanted), done = std::move(done)] {
        if (exchange_.nodes.count(self) == 0) return;
        std::optional<proto::CertificateChain> found;
        for (const auto& chain : there) {
          if (!found && chain.device_id() == device && wanted(CheckedChain::of(chain, std::time(nullptr))))
            found = chain;
        }
        done(std::move(found));
      });
}

void Node::send(const SignalTarget& target, proto::Bytes body) {
  exchange_.send(id, public_key, target, {body.begin(), body.end()});
}

void Node::on_channel_requested(const IncomingChannel& request) {
  if (!accept) {
    requests.push_back(request);
    return;
  }
  auto fd = manager->channels().accept(request.channel, {strict});
  if (auto* taken = std::get_if<ipc::Fd>(&fd)) accepted.push_back({request.channel, request.uri, std::move(*taken)});
}
void Node::on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) {
  cancelled.emplace_back(channel, reason);
}
void Node::on_channel_closed(const ChannelEnd& end) {
  ended.push_back(end);
}
bool Node::ask_connection(const Question& question) {
  if (!answers_questions) return false;
  questions.push_back(question);
  return true;
}
void Node::connection_question_over(std::uint64_t) {}

OpenedChannel& opened(OpenResult& result) {
  if (auto* error = std::get_if<OpenError>(&result)) FAIL(proto::reason_name(error->reason) << ": " << error->text);
  return std::get<OpenedChannel>(result);
}
proto::Reason failed(const OpenResult& result) {
  const auto* error = std::get_if<OpenError>(&result);
  REQUIRE(error != nullptr);
  return error->reason;
}

namespace {
void make_nonblocking(int fd) {
  REQUIRE(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
}
}  // namespace

std::string read_exactly(World& world, int fd, std::size_t n) {
  make_nonblocking(fd);
  std::string out;
  const bool in_time = world.run_until([&] {
    char buffer[65536];
    ssize_t got = 0;
    while (out.size() < n && (got = read(fd, buffer, std::min(sizeof buffer, n - out.size()))) > 0) {
      out.append(buffer, static_cast<std::size_t>(got));
    }
    return out.size() == n || got == 0 || (got < 0 && errno != EAGAIN);
  });
  CHECK(in_time);
  return out;
}

std::string read_to_end(World& world, int fd) {
  return read_exactly(world, fd, std::string::npos);
}

void write_all(World& world, int fd, const std::string& bytes) {
  make_nonblocking(fd);
  std::size_t done = 0;
  const bool in_time = world.run_until([&] {
    ssize_t n = 0;
    while (done < bytes.size() && (n = ::send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL)) > 0) {
      done += static_cast<std::size_t>(n);
    }
    return done == bytes.size() || (n < 0 && errno != EAGAIN);
  });
  CHECK(in_time);
  CHECK(done == bytes.size());
}

}  // namespace connd::test
