// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/peer_connections.h"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/system/host_port.h"
#include "daemon/trust/certificate_text.h"

namespace connd::daemon {
namespace {

void add_to(ConnectionTotals& totals, const MultiplexedSocket& socket) {
  ++totals.connections;
  const Link::Counts counts = socket.link().counts();
  totals.bytes_in += counts.bytes_in;
  totals.bytes_out += counts.bytes_out;
  totals.tls_records_in += counts.records_in;
  totals.tls_records_out += counts.records_out;
}

}  // namespace

PeerConnections::PeerConnections(const ManagerContext& context, const ManagerSettings& settings,
                                 const proto::DeviceId& own, KnownChains& chains, ChannelTable& channels,
                                 std::function<void()> on_tick)
    : context_(context),
      settings_(settings),
      own_(own),
      chains_(chains),
      channels_(channels),
      on_tick_(std::move(on_tick)),
      sleep_(boot_time(), kTick, SleepWatch::kGap),
      tick_(context.connections.loop, [this] { tick(); }) {}

PeerConnection& PeerConnections::add(std::unique_ptr<MultiplexedSocket> socket, proto::ConnectRole role) {
  const ConnectionNumber number = socket->number();
  const proto::CertificateChain& chain = *socket->peer_chain();
  const auto dates = chain.validity();  // TLS has read them
  PeerConnection connection;
  connection.role = role;
  connection.since = connection.idle_since = context_.connections.loop.now();
  connection.account = chain.account_id();
  connection.valid_until_unix = dates ? dates->until_unix : 0;
  connection.trust = context_.stores.trust.of(chain);
  connection.scope = context_.stores.trust.scope_of(chain);
  peers_[socket->peer()].connections.push_back(number);
  connection.socket = std::move(socket);
  ++begun_;
  start_ticking();
  return connections_.emplace(number, std::move(connection)).first->second;
}

std::unique_ptr<MultiplexedSocket> PeerConnections::remove(ConnectionNumber number) {
  const auto it = connections_.find(number);
  std::unique_ptr<MultiplexedSocket> socket = std::move(it->second.socket);
  connections_.erase(it);
  add_to(past_, *socket);
  const auto known = peers_.find(socket->peer());
  Peer& peer = known->second;
  std::erase(peer.connections, number);
  peer.last_up = context_.connections.loop.now();
  if (peer.connections.empty() && peers_.size() > settings_.limits.max_connections) peers_.erase(known);
  return socket;
}

PeerConnection* PeerConnections::find(ConnectionNumber number) {
  const auto it = connections_.find(number);
  return it == connections_.end() ? nullptr : &it->second;
}

const PeerConnection* PeerConnections::find(ConnectionNumber number) const {
  const auto it = connections_.find(number);
  return it == connections_.end() ? nullptr : &it->second;
}

// ---- which one ----

const PeerConnections::Peer* PeerConnections::peer(const proto::DeviceId& device) const {
  const auto it = peers_.find(device);
  return it == peers_.end() ? nullptr : &it->second;
}

MultiplexedSocket* PeerConnections::usable(const proto::DeviceId& device) const {
  const Peer* known = peer(device);
  if (known == nullptr) return nullptr;
  const proto::ConnectRole preferred = own_ < device ? proto::ConnectRole::kCaller : proto::ConnectRole::kCallee;
  MultiplexedSocket* found = nullptr;
  for (auto number = known->connections.rbegin(); number != known->connections.rend(); ++number) {
    const PeerConnection& connection = connections_.at(*number);
    if (!connection.socket->usable() || connection.stranded || connection.trust == Trust::kBanned) continue;
    if (connection.role == preferred) return connection.socket.get();
    if (found == nullptr) found = connection.socket.get();
  }
  return found;
}

std::optional<proto::DeviceId> PeerConnections::usable_device(const proto::AccountId& account,
                                                              const proto::DeviceId& wanted) const {
  for (const auto& [number, connection] : connections_) {
    const proto::DeviceId& device = connection.socket->peer();
    if (!wanted.is_zero() && device != wanted) continue;
    if (is_of(*connection.socket, account) && usable(device) != nullptr) return device;
  }
  return std::nullopt;
}

bool PeerConnections::is_of(const MultiplexedSocket& socket, const proto::AccountId& account) const {
  return at(socket.number()).account == account || socket.peer_chain()->short_device_id().bytes == account.bytes;
}

std::size_t PeerConnections::count(const proto::DeviceId& device) const {
  const Peer* known = peer(device);
  return known != nullptr ? known->connections.size() : 0;
}

std::size_t PeerConnections::channels_with(const proto::DeviceId& device) const {
  const Peer* known = peer(device);
  std::size_t sum = 0;
  if (known == nullptr) return sum;
  for (const ConnectionNumber number : known->connections) sum += at(number).socket->mux_state()->channel_count();
  return sum;
}

PeerConnections::UniqueChannel PeerConnections::unique_channel(
    const proto::DeviceId& device, const std::string& uri, const MultiplexedSocket* besides,
    const std::function<bool(proto::ChannelHandle)>& is_held) const {
  UniqueChannel found;
  const Peer* known = peer(device);
  if (known == nullptr) return found;
  for (const ConnectionNumber number : known->connections) {
    MultiplexedSocket& socket = *at(number).socket;
    const proto::ChannelHandle channel = &socket == besides ? 0 : socket.unique_channel(uri);
    if (channel == 0) continue;
    if (found.channel == 0 || !is_held(channel)) found = {&socket, channel};
  }
  return found;
}

std::optional<proto::TimePoint> PeerConnections::last_up(const proto::DeviceId& device) const {
  const Peer* known = peer(device);
  return known != nullptr ? known->last_up : std::nullopt;
}

// ---- ending, and doubts ----

std::size_t PeerConnections::close(const proto::DeviceId& device, proto::Reason reason, std::string_view text) {
  const Peer* known = peer(device);
  if (known == nullptr) return 0;
  const std::vector<ConnectionNumber> numbers = known->connections;
  for (const ConnectionNumber number : numbers) at(number).socket->close_now(reason, text);
  return numbers.size();
}

void PeerConnections::close_all_drained(proto::Reason reason, std::string_view text) {
  for (auto& [number, connection] : connections_) connection.socket->close_drained(reason, text);
}

void PeerConnections::trust_changed() {
  for (auto& [number, connection] : connections_) judge(connection);
}

void PeerConnections::judge(PeerConnection& connection) {
  MultiplexedSocket& socket = *connection.socket;
  const proto::CertificateChain& chain = *socket.peer_chain();
  const Trust before = std::exchange(connection.trust, context_.stores.trust.of(chain));
  const TrustScope scope = std::exchange(connection.scope, context_.stores.trust.scope_of(chain));
  if (chain.has_revoked(context_.stores.is_revoked())) {
    socket.close_now(proto::Reason::kBadCertificate, "the peer's certificate was revoked");
  } else if (chains_.taken_back(chain)) {
    socket.close_now(proto::Reason::kBadCertificate, kTakenBack);
  } else if (connection.trust == Trust::kBanned) {
    socket.close_now(proto::Reason::kBanned, "this device has banned the peer");
  } else if (before == Trust::kAllowed && connection.trust == Trust::kUnknown) {
    socket.close_now(proto::Reason::kNotPermitted, "this device does not allow the peer any more");
  } else if (connection.trust == Trust::kAllowed && before == Trust::kAllowed) {
    channels_.scope_changed(socket, scope, connection.scope);
  }
}

/// A certificate that is not valid yet was valid when the connection came up: this device's clock was set back, and
/// that is no fault of the peer's.
void PeerConnections::check_dates() {
  const std::int64_t now = settings_.clock();
  for (auto& [number, connection] : connections_) {
    if (now < connection.valid_until_unix) continue;
    connection.socket->close_now(proto::Reason::kBadCertificate,
                                 "the peer's certificate has expired; this device's clock says " + date_text(now));
  }
}

void PeerConnections::network_changed(const std::vector<std::string>& addresses) {
  for (auto& [number, connection] : connections_) {
    const auto local = HostPort::parse(connection.socket->link().path().local, 0);
    connection.stranded = local && std::find(addresses.begin(), addresses.end(), local->host) == addresses.end();
    connection.socket->probe();
  }
}

void PeerConnections::probe(const proto::DeviceId& device) {
  const Peer* known = peer(device);
  if (known == nullptr) return;
  for (const ConnectionNumber number : known->connections) at(number).socket->probe();
}

// ---- time ----

void PeerConnections::start_ticking() {
  if (tick_.armed()) return;  // what comes often must not put it off
  sleep_ = SleepGauge(boot_time(), kTick, SleepWatch::kGap);
  tick_.arm_in(kTick);
}

void PeerConnections::tick() {
  probe_after_sleep();
  close_idle();
  on_tick_();
  if (!connections_.empty()) start_ticking();
}

void PeerConnections::probe_after_sleep() {
  const std::chrono::seconds late = sleep_.on_tick(boot_time());
  if (late == std::chrono::seconds(0)) return;
  spdlog::info("stood still for {} s: probing all connections", late.count());
  for (auto& [number, connection] : connections_) connection.socket->probe();
}

/// Ends those that have been without channels for so long that nobody would miss them.
void PeerConnections::close_idle() {
  const proto::TimePoint now = context_.connections.loop.now();
  for (auto& [number, connection] : connections_) {
    MultiplexedSocket& socket = *connection.socket;
    if (!socket.usable()) continue;
    // A channel that has ended on the wire may still hold bytes that its app has not taken.
    if (socket.mux_state()->channel_count() > 0 || socket.channels().size() > 0) {
      connection.idle_since = now;
      continue;
    }
    const proto::Duration limit = is_spare(connection) ? settings_.limits.spare_idle_time : settings_.limits.idle_time;
    if (now - connection.idle_since >= limit) socket.close_gracefully(proto::Reason::kIdle, "nobody uses it");
  }
}

/// A connection without channels that nobody would miss: another one is preferred, or carries what there is.
bool PeerConnections::is_spare(const PeerConnection& connection) const {
  const proto::DeviceId& device = connection.socket->peer();
  if (usable(device) != connection.socket.get()) return true;
  for (const ConnectionNumber number : peers_.at(device).connections) {
    const MultiplexedSocket& other = *at(number).socket;
    if (&other != connection.socket.get() && other.usable() && other.channels().size() > 0) return true;
  }
  return false;
}

// ---- for status ----

void PeerConnections::each(const std::function<void(const PeerConnection&)>& visit) const {
  for (const auto& [number, connection] : connections_) visit(connection);
}

ConnectionTotals PeerConnections::totals() const {
  ConnectionTotals totals = past_;
  for (const auto& [number, connection] : connections_) add_to(totals, *connection.socket);
  return totals;
}

}  // namespace connd::daemon
