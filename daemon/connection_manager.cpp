// SPDX-License-Identifier: GPL-3.0-or-later
// Connections and attempts; opens are in connection_manager_opens.cpp.
#include "daemon/connection_manager.h"

#include <algorithm>
#include <ctime>

#include <spdlog/spdlog.h>

#include "daemon/atomic_file.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

/// Between attempts after the second failure in a row; the first is repeated at once.
constexpr proto::Duration kFirstBackoff = std::chrono::milliseconds(200);
constexpr unsigned kMaxBackoffDoublings = 4;

using nlohmann::json;

PeerKind kind_of(const proto::ConnectionRequest& request, const ConnectionManager::Settings& settings) {
  return settings.native && request.native_version ? PeerKind::kNative : PeerKind::kJami;
}

std::string short_name(const proto::DeviceId& device) {
  return device.hex().substr(0, 12);
}

ConnectAttempt::Context attempts_context(const ConnectionManager::Context& context,
                                         const ConnectionManager::Settings& settings, const proto::TlsContext& tls,
                                         MultiplexedSocket::Owner& owner) {
  return {context.connections, context.bridge, tls, settings.ice, settings.mux, context.stores, owner, settings.native};
}

}  // namespace

ConnectionManager::ConnectionManager(const Context& context, const Settings& settings, proto::DeviceId own,
                                     proto::TlsContext tls)
    : context_(context),
      settings_(settings),
      own_(own),
      tls_(std::move(tls)),
      attempts_context_(attempts_context(context_, settings_, tls_, *this)),
      gate_(context.connections.loop, context.signalling, context.stores, context.asker, settings.gate),
      random_(std::random_device{}()),
      tick_(context.connections.loop, [this] { on_tick(); }),
      deadline_(context.connections.loop, [this] { expire_opens(); }),
      soon_(context.connections.loop, [this] { run_later(); }) {}

void ConnectionManager::set_settings(const Settings& settings) {
  settings_.limits = settings.limits;
  settings_.gate = settings.gate;
  gate_.set_settings(settings.gate);
}

ConnectionManager::~ConnectionManager() = default;

// ---- bringing connections up ----

void ConnectionManager::dial(const proto::DeviceId& device) {
  Peer& peer = peers_[device];
  peer.retry_at = proto::kNever;
  const proto::TimePoint now = context_.connections.loop.now();
  proto::ConnectTimes times = settings_.times;
  for (const OpenNumber number : peer.waiting) {
    times.total = std::max(times.total, opens_.at(number).deadline - now);
  }
  const std::uint64_t request_id =
      std::uniform_int_distribution<std::uint64_t>(1, proto::ConnectionRequest::kMaxId)(random_);
  const AttemptId id{next_connection_++, request_id, device};
  peer.dialling = id.number;
  ConnectAttempt::Owner& owner = *this;
  launch(std::make_unique<ConnectAttempt>(attempts_context_, owner, id, times));
}

void ConnectionManager::launch(std::unique_ptr<ConnectAttempt> attempt) {
  ConnectAttempt& started = *attempt;
  attempts_.emplace(started.id().number, std::move(attempt));
  start_ticking();
  context_.events.publish("connection.connecting",
                          {{"connection", started.id().number},
                           {"peer", started.id().peer.hex()},
                           {"direction", started.role() == proto::ConnectRole::kCaller ? "outgoing" : "incoming"}});
  started.start();
}

void ConnectionManager::attempt_resolves(ConnectAttempt& attempt) {
  const proto::DeviceId device = attempt.id().peer;
  const ConnectionNumber number = attempt.id().number;
  auto known = context_.stores.certificates.find(device);
  if (known && *known) return resolved(number, std::move(*known));
  context_.signalling.find_certificate(
      device, peers_[device].short_id, context_.connections.loop.now() + settings_.times.resolve, {},
      [this, number](std::optional<proto::CertificateChain> chain) { resolved(number, std::move(chain)); });
}

void ConnectionManager::resolved(ConnectionNumber number, std::optional<proto::CertificateChain> chain) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  ConnectAttempt& attempt = *it->second;
  if (!chain) return attempt.on_certificate(false);
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  if (const auto valid = chain->verify(now, context_.stores.is_revoked()); !valid) {
    return attempt.reject(proto::Reason::kBadCertificate, valid.error().message());
  }
  if (context_.stores.trust.of(attempt.id().peer, chain->issuer_ids()) == Trust::kBanned) {
    return attempt.reject(proto::Reason::kBanned, "the peer's account or CA is banned");
  }
  targets_[number] = {chain->public_key_der(), SignalKeys::kBoth};
  attempt.on_certificate(true);
}

void ConnectionManager::attempt_signals(ConnectAttempt& attempt, const std::string& ice_text, bool is_answer) {
  const auto target = targets_.find(attempt.id().number);
  if (target == targets_.end()) return;
  proto::ConnectionRequest request;
  request.id = attempt.id().request_id;
  request.ice_text = ice_text;
  request.is_answer = is_answer;
  if (settings_.native) request.native_version = proto::ConnectionRequest::kNativeVersion;
  context_.signalling.send(target->second.public_key, request.encode(), target->second.keys);
}

void ConnectionManager::attempt_moved(ConnectAttempt& attempt, proto::ConnectState state) {
  const auto elapsed = context_.connections.loop.now() - attempt.started();
  spdlog::debug("connection={} peer={} state={} after_ms={}", attempt.id().number, short_name(attempt.id().peer),
                proto::to_string(state), elapsed.count());
  context_.events.publish("connection.progress", {{"connection", attempt.id().number},
                                                  {"peer", attempt.id().peer.hex()},
                                                  {"state", std::string(proto::to_string(state))},
                                                  {"after_ms", elapsed.count()}});
}

void ConnectionManager::attempt_failed(ConnectAttempt& attempt, const AttemptFailure& failure) {
  const proto::DeviceId device = attempt.id().peer;
  const bool outgoing = attempt.role() == proto::ConnectRole::kCaller;
  spdlog::info("connection={} peer={} failed reason={} text=\"{}\"", attempt.id().number, short_name(device),
               proto::reason_name(failure.reason), failure.text);
  publish_failed(attempt, failure.reason, failure.text);
  drop_attempt(attempt.id().number);
  if (!outgoing) return forget_peer_if_unused(device);
  Peer& peer = peers_[device];
  peer.dialling = 0;
  if (!failure.worth_retrying || peer.waiting.empty()) return fail_waiting(device, failure);
  ++peer.failures;
  if (peer.failures == 1) return dial(device);
  const unsigned doublings = std::min(peer.failures - 2, kMaxBackoffDoublings);
  peer.retry_at = context_.connections.loop.now() + kFirstBackoff * (1u << doublings);
  peer.last_failure = failure;
  start_ticking();
}

void ConnectionManager::publish_failed(const ConnectAttempt& attempt, proto::Reason reason, std::string_view text) {
  const bool outgoing = attempt.role() == proto::ConnectRole::kCaller;
  json event = {{"connection", attempt.id().number},
                {"peer", attempt.id().peer.hex()},
                {"direction", outgoing ? "outgoing" : "incoming"},
                {"reason", std::string(proto::reason_name(reason))}};
  if (!text.empty()) event["detail"] = std::string(text);
  context_.events.publish("connection.failed", event);
}

/// Of an attempt that nobody needs any more. Who was told that it began is told that it is over.
void ConnectionManager::abandon_attempt(ConnectionNumber number, proto::Reason reason) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  publish_failed(*it->second, reason, {});
  drop_attempt(number);
}

void ConnectionManager::drop_attempt(ConnectionNumber number) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  dead_attempts_.push_back(std::move(it->second));
  attempts_.erase(it);
  targets_.erase(number);
  unknown_setups_.erase(number);
  soon();
}

void ConnectionManager::attempt_done(ConnectAttempt& attempt) {
  const proto::DeviceId device = attempt.id().peer;
  const ConnectionNumber number = attempt.id().number;
  const proto::TimePoint now = context_.connections.loop.now();
  Connection connection;
  connection.socket = attempt.take_socket();
  connection.role = attempt.role();
  connection.since = connection.idle_since = now;
  const proto::CertificateChain& chain = *connection.socket->peer_chain();
  connection.account = chain.account_id();
  connection.trust = context_.stores.trust.of(device, chain.issuer_ids());
  const Trust trust = connection.trust;
  if (const auto stored = context_.stores.certificates.put(chain); !stored) {
    spdlog::warn("certificate of {} not stored: {}", short_name(device), stored.failure().text);
  }
  MultiplexedSocket& socket = *connection.socket;
  const auto elapsed = now - attempt.started();
  spdlog::info("connection={} peer={} up after_ms={} role={} local={} remote={} trust={}", number, short_name(device),
               elapsed.count(), connection.role == proto::ConnectRole::kCaller ? "caller" : "callee",
               socket.path().local, socket.path().remote, name_of(trust));
  Peer& peer = peers_[device];
  json event = {{"connection", number},
                {"peer", device.hex()},
                {"account", connection.account.hex()},
                {"direction", connection.role == proto::ConnectRole::kCaller ? "outgoing" : "incoming"},
                {"after_ms", elapsed.count()},
                {"local", socket.path().local},
                {"remote", socket.path().remote}};
  if (!peer.met) event["certificate"] = chain.pem();
  peer.met = true;
  connections_.emplace(number, std::move(connection));
  peer.connections.push_back(number);
  peer.failures = 0;
  if (peer.dialling == number) peer.dialling = 0;
  drop_attempt(number);
  context_.events.publish("connection.connected", event);
  if (trust == Trust::kBanned) {
    socket.close_now(proto::Reason::kBanned, "the peer is banned");
    return fail_waiting(device, {proto::Reason::kBanned, "the peer's account or CA is banned", false});
  }
  place_waiting(device);
  // Both sides prefer the connection that the lower id asked for. If that is the peer's, ours is not needed; the other
  // way round it is kept, so that two attempts that cross never end each other.
  if (device < own_ && connections_.at(number).role == proto::ConnectRole::kCallee) give_up_dialling(device);
}

// ---- requests and answers from the DHT ----

void ConnectionManager::on_signal(const SignalMessage& message) {
  if (message.signer == own_ || shutting_down()) return;
  auto request = proto::ConnectionRequest::decode(message.body);
  if (!request) {
    spdlog::debug("peer={} malformed connection request: {}", short_name(message.signer), request.error().message());
    return;
  }
  request->is_answer ? on_answer(message, *request) : on_request(message, std::move(*request));
}

void ConnectionManager::on_answer(const SignalMessage& message, const proto::ConnectionRequest& answer) {
  // An answer counts only from the device that was asked, for the request that is under way (A9).
  const auto peer = peers_.find(message.signer);
  if (peer == peers_.end()) return;
  const auto it = attempts_.find(peer->second.dialling);
  if (it == attempts_.end() || it->second->id().request_id != answer.id) return;
  auto remote = proto::IceDescription::parse(answer.ice_text);
  if (!remote) return it->second->reject(proto::Reason::kProtocolError, remote.error().message());
  it->second->on_answer(*remote, kind_of(answer, settings_));
}

void ConnectionManager::on_request(const SignalMessage& message, proto::ConnectionRequest request) {
  const proto::DeviceId device = message.signer;
  const Trust trust = context_.stores.trust.of(device);
  if (trust == Trust::kBanned) return refused(device, proto::Reason::kBanned, "the device is banned");
  // Who is allowed by its account is remembered over a restart too, once its chain is known.
  const bool allowed = gate_.trust_of(device) == Trust::kAllowed;
  if (!context_.stores.requests.first_seen(device, request.id, allowed)) {
    // It comes once per key, and again when the caller thinks that it or the answer was lost.
    if (ConnectAttempt* attempt = callee_attempt(device, request.id)) attempt->repeat_answer();
    return;
  }
  later_save_requests();
  const proto::ShortDeviceId short_id = proto::short_device_id_of(message.signer_public_key);
  gate_.judge(device, short_id, [this, message, request = std::move(request)](const RequestGate::Verdict& verdict) {
    if (!verdict.accept) return refused(message.signer, verdict.reason, verdict.text);
    if (verdict.trust == Trust::kAllowed) {
      (void)context_.stores.requests.first_seen(message.signer, request.id, true);
      later_save_requests();
    }
    answer_request(message, request, verdict.trust);
  });
}

void ConnectionManager::answer_request(const SignalMessage& message, const proto::ConnectionRequest& request,
                                       Trust trust) {
  const proto::DeviceId device = message.signer;
  if (shutting_down()) return;
  auto remote = proto::IceDescription::parse(request.ice_text);
  if (!remote) return refused(device, proto::Reason::kProtocolError, remote.error().message());
  // A peer asks anew when it has given the last attempt up.
  std::vector<ConnectionNumber> old;
  for (const auto& [number, attempt] : attempts_) {
    if (attempt->role() == proto::ConnectRole::kCallee && attempt->id().peer == device) old.push_back(number);
  }
  for (const ConnectionNumber number : old) abandon_attempt(number, proto::Reason::kCancelled);
  probe_connections(device);
  if (!room_for_setup(trust)) return refused(device, proto::Reason::kBusy, "too many connections are being set up");

  const AttemptId id{next_connection_++, request.id, device};
  targets_[id.number] = {message.signer_public_key, message.at_short_key ? SignalKeys::kShort : SignalKeys::kLong};
  if (trust != Trust::kAllowed) unknown_setups_.insert(id.number);
  ConnectAttempt::Owner& owner = *this;
  launch(std::make_unique<ConnectAttempt>(attempts_context_, owner, id, settings_.times, std::move(*remote),
                                          kind_of(request, settings_)));
}

bool ConnectionManager::room_for_setup(Trust trust) const {
  std::size_t all = 0;
  std::size_t unknown = 0;
  for (const auto& [number, attempt] : attempts_) {
    if (attempt->role() != proto::ConnectRole::kCallee) continue;
    ++all;
    unknown += unknown_setups_.count(number);
  }
  if (connections_.size() + attempts_.size() >= settings_.limits.max_connections) return false;
  return all < settings_.limits.max_setups &&
         (trust == Trust::kAllowed || unknown < settings_.limits.max_unknown_setups);
}

ConnectAttempt* ConnectionManager::callee_attempt(const proto::DeviceId& peer, std::uint64_t request_id) const {
  for (const auto& [number, attempt] : attempts_) {
    const AttemptId& id = attempt->id();
    const bool callee = attempt->role() == proto::ConnectRole::kCallee;
    if (callee && id.peer == peer && id.request_id == request_id) return attempt.get();
  }
  return nullptr;
}

void ConnectionManager::refused(const proto::DeviceId& device, proto::Reason reason, std::string_view text) {
  spdlog::info("peer={} connection request refused reason={} text=\"{}\"", short_name(device),
               proto::reason_name(reason), text);
  context_.events.publish(
      "request.refused",
      {{"peer", device.hex()}, {"reason", std::string(proto::reason_name(reason))}, {"detail", std::string(text)}});
}

// ---- from the connections ----

void ConnectionManager::on_up(MultiplexedSocket& socket) {
  const auto it = attempts_.find(socket.number());
  if (it != attempts_.end()) it->second->socket_up();
}

void ConnectionManager::on_down(MultiplexedSocket& socket, proto::Reason reason, const std::string& text,
                                std::error_code error) {
  if (const auto it = attempts_.find(socket.number()); it != attempts_.end()) {
    const bool ours = error.category() == proto::error_category();
    return it->second->socket_down(ours ? proto::reason_of(error) : reason, text);
  }
  const auto it = connections_.find(socket.number());
  if (it == connections_.end()) return;
  const ConnectionNumber number = it->first;
  const proto::DeviceId device = socket.peer();
  spdlog::info("connection={} peer={} down reason={} text=\"{}\"", number, short_name(device),
               proto::reason_name(reason), text);
  add_to(past_, socket);
  dead_sockets_.push_back(std::move(it->second.socket));
  connections_.erase(it);
  auto& list = peers_[device].connections;
  list.erase(std::remove(list.begin(), list.end(), number), list.end());
  context_.events.publish("connection.closed", {{"connection", number},
                                                {"peer", device.hex()},
                                                {"reason", std::string(proto::reason_name(reason))},
                                                {"detail", text}});
  drop_requests(number, reason);
  for (const OpenNumber open : opens_on(number)) redial_or_fail(open, reason, text);
  forget_peer_if_unused(device);
  soon();
}

/// Requests of peers that nobody has answered yet go with their connection.
void ConnectionManager::drop_requests(ConnectionNumber connection, proto::Reason reason) {
  std::vector<proto::ChannelHandle> gone;
  for (const auto& [handle, record] : channels_) {
    if (record.connection == connection) gone.push_back(handle);
  }
  for (const proto::ChannelHandle handle : gone) {
    channels_.erase(handle);
    context_.apps.on_channel_request_cancelled(handle, reason);
  }
}

void ConnectionManager::on_channel_requested(MultiplexedSocket& socket, proto::ChannelHandle channel,
                                             const std::string& uri, bool /*unique*/) {
  const auto it = connections_.find(socket.number());
  if (it == connections_.end()) return socket.refuse(channel, proto::Reason::kNotReady, {});
  if (channels_.size() >= settings_.limits.max_channels) {
    return socket.refuse(channel, proto::Reason::kResourceLimit, "the daemon has as many channels as it can");
  }
  channels_.emplace(channel, ChannelRecord{socket.number(), uri, false, false, context_.connections.loop.now()});
  context_.apps.on_channel_requested(
      {channel, socket.peer(), it->second.account, it->second.trust, uri, socket.rules().half_close});
}

void ConnectionManager::on_request_cancelled(MultiplexedSocket& /*socket*/, proto::ChannelHandle channel,
                                             proto::Reason reason) {
  if (channels_.erase(channel) > 0) context_.apps.on_channel_request_cancelled(channel, reason);
}

void ConnectionManager::on_channel_closed(MultiplexedSocket& socket, const ChannelEnd& end) {
  const auto record = channels_.find(end.channel);
  if (record != channels_.end()) channels_.erase(record);
  if (const auto it = connections_.find(socket.number()); it != connections_.end()) {
    it->second.idle_since = context_.connections.loop.now();
  }
  context_.apps.on_channel_closed(end);
}

void ConnectionManager::on_going_away(MultiplexedSocket& /*socket*/) {
  // usable() says no from now on; opens that were refused for it are placed anew as their refusals come.
}

// ---- channels of peers ----

std::variant<ipc::Fd, OpenError> ConnectionManager::accept_channel(proto::ChannelHandle channel,
                                                                   const ChannelOptions& options) {
  const auto record = channels_.find(channel);
  if (record == channels_.end() || record->second.accepted || record->second.outgoing) {
    return OpenError{proto::Reason::kNotFound, "the request is over"};
  }
  MultiplexedSocket& socket = *connections_.at(record->second.connection).socket;
  auto fd = socket.accept(channel, options);
  if (!fd) {
    const bool cancelled = fd.error() == std::errc::operation_canceled;
    const std::string text = fd.error().message();
    channels_.erase(record);
    return OpenError{cancelled ? proto::Reason::kCancelled : proto::Reason::kResourceLimit, text};
  }
  record->second.accepted = true;
  return std::move(*fd);
}

void ConnectionManager::refuse_channel(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  const auto record = channels_.find(channel);
  if (record == channels_.end() || record->second.accepted) return;
  connections_.at(record->second.connection).socket->refuse(channel, reason, text);
  channels_.erase(record);
}

bool ConnectionManager::finish_channel(proto::ChannelHandle channel) {
  const auto record = channels_.find(channel);
  if (record == channels_.end()) return false;
  return connections_.at(record->second.connection).socket->finish(channel);
}

bool ConnectionManager::close_channel(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  const auto record = channels_.find(channel);
  if (record == channels_.end()) return false;
  return connections_.at(record->second.connection).socket->close_channel(channel, reason, text);
}

// ---- closing connections ----

std::size_t ConnectionManager::close_connections(const proto::DeviceId& device, proto::Reason reason,
                                                 std::string_view text) {
  std::size_t closed = 0;
  std::vector<OpenNumber> opens;
  for (const auto& [number, open] : opens_) {
    if (open.request.peer == device && open.candidates.empty()) opens.push_back(number);
  }
  std::vector<ConnectionNumber> attempts;
  for (const auto& [number, attempt] : attempts_) {
    if (attempt->id().peer == device) attempts.push_back(number);
  }
  for (const OpenNumber number : opens) (void)cancel_open(number, proto::Reason::kCancelled);
  for (const ConnectionNumber number : attempts) {
    ++closed;
    // What we dialled went with the last open that waited for it.
    const auto it = attempts_.find(number);
    if (it != attempts_.end()) attempt_failed(*it->second, {proto::Reason::kCancelled, std::string(text), false});
  }
  for (auto& [number, connection] : connections_) {
    if (connection.socket->peer() != device) continue;
    connection.socket->close_now(reason, text);
    ++closed;
  }
  return closed;
}

void ConnectionManager::trust_changed() {
  for (auto& [number, connection] : connections_) {
    const proto::CertificateChain* chain = connection.socket->peer_chain();
    const Trust before = connection.trust;
    connection.trust = context_.stores.trust.of(connection.socket->peer(), chain->issuer_ids());
    if (chain->has_revoked(context_.stores.is_revoked())) {
      connection.socket->close_now(proto::Reason::kBadCertificate, "the peer's certificate was revoked");
    } else if (connection.trust == Trust::kBanned) {
      connection.socket->close_now(proto::Reason::kBanned, "the peer was banned");
    } else if (before == Trust::kAllowed && connection.trust == Trust::kUnknown) {
      connection.socket->close_now(proto::Reason::kNotPermitted, "the peer is not allowed any more");
    }
  }
  std::vector<ConnectAttempt*> banned;
  for (auto& [number, attempt] : attempts_) {
    if (gate_.trust_of(attempt->id().peer) == Trust::kBanned) banned.push_back(attempt.get());
  }
  for (ConnectAttempt* attempt : banned) {
    attempt_failed(*attempt, {proto::Reason::kBanned, "the peer was banned", false});
  }
}

void ConnectionManager::shut_down(std::function<void()> done) {
  shutting_down_ = true;
  shut_down_done_ = std::move(done);
  while (!opens_.empty()) {
    (void)cancel_open(opens_.begin()->first, proto::Reason::kShuttingDown);
  }
  while (!attempts_.empty()) abandon_attempt(attempts_.begin()->first, proto::Reason::kShuttingDown);
  for (auto& [number, connection] : connections_) {
    connection.socket->close_now(proto::Reason::kShuttingDown, "the daemon is shutting down");
  }
  soon();
}

// ---- time ----

void ConnectionManager::on_tick() {
  const proto::TimePoint now = context_.connections.loop.now();
  std::vector<proto::DeviceId> due;
  bool retries = false;
  for (const auto& [device, peer] : peers_) {
    if (peer.retry_at == proto::kNever) continue;
    retries = true;
    if (peer.retry_at <= now) due.push_back(device);
  }
  for (const proto::DeviceId& device : due) {
    Peer& peer = peers_[device];
    peer.waiting.empty() ? fail_waiting(device, {proto::Reason::kCancelled, {}, false}) : dial(device);
  }
  probe_after_sleep();
  close_idle();
  if (retries || !connections_.empty()) start_ticking();
}

void ConnectionManager::close_idle() {
  const proto::TimePoint now = context_.connections.loop.now();
  for (auto& [number, connection] : connections_) {
    MultiplexedSocket& socket = *connection.socket;
    if (!socket.usable()) continue;
    // A channel that has ended on the wire may still hold bytes that its app has not taken.
    if (socket.mux_state()->channel_count() > 0 || socket.channel_count() > 0) {
      connection.idle_since = now;
      continue;
    }
    const proto::Duration limit = is_spare(connection) ? settings_.limits.spare_idle_time : settings_.limits.idle_time;
    if (now - connection.idle_since >= limit) socket.close_gracefully(proto::Reason::kIdle, "nobody uses it");
  }
}

/// A connection without channels that nobody would miss: another one is preferred, or carries what there is.
bool ConnectionManager::is_spare(const Connection& connection) const {
  const proto::DeviceId& device = connection.socket->peer();
  if (usable(device) != connection.socket.get()) return true;
  for (const ConnectionNumber number : peers_.at(device).connections) {
    const MultiplexedSocket& other = *connections_.at(number).socket;
    if (&other != connection.socket.get() && other.usable() && other.channel_count() > 0) return true;
  }
  return false;
}

/// Of several connections with one peer both sides prefer the same one: that which the device with the lower id asked
/// for, and of those the newest.
MultiplexedSocket* ConnectionManager::usable(const proto::DeviceId& device) const {
  const auto peer = peers_.find(device);
  if (peer == peers_.end()) return nullptr;
  const proto::ConnectRole preferred = own_ < device ? proto::ConnectRole::kCaller : proto::ConnectRole::kCallee;
  MultiplexedSocket* found = nullptr;
  const auto& numbers = peer->second.connections;
  for (auto number = numbers.rbegin(); number != numbers.rend(); ++number) {
    const Connection& connection = connections_.at(*number);
    if (!connection.socket->usable() || connection.stranded || connection.trust == Trust::kBanned) continue;
    if (connection.role == preferred) return connection.socket.get();
    if (found == nullptr) found = connection.socket.get();
  }
  return found;
}

void ConnectionManager::forget_peer_if_unused(const proto::DeviceId& device) {
  const auto it = peers_.find(device);
  if (it == peers_.end()) return;
  const Peer& peer = it->second;
  // A peer that was met stays known for as long as there are few: its certificate is reported once.
  if (!peer.connections.empty() || peer.dialling != 0 || !peer.waiting.empty()) return;
  if (!peer.met || peers_.size() > settings_.limits.max_connections) peers_.erase(it);
}

void ConnectionManager::soon() {
  soon_.arm_in(proto::Duration{0});
}

/// What had to wait until nothing of ours is on the stack.
void ConnectionManager::run_later() {
  dead_sockets_.clear();
  dead_attempts_.clear();
  auto failed = std::exchange(failed_opens_, {});
  for (auto& [number, error] : failed) complete(number, std::move(error));
  save_requests();
  if (shut_down_done_ && connections_.empty() && dead_sockets_.empty()) std::exchange(shut_down_done_, nullptr)();
}

void ConnectionManager::later_save_requests() {
  if (context_.stores.requests.dirty()) save_requests();
}

/// Off the loop, and one at a time: the log says that an older snapshot must not land after a newer one.
void ConnectionManager::save_requests() {
  if (saving_requests_ || !context_.stores.requests.dirty()) return;
  saving_requests_ = true;
  auto snapshot = std::make_shared<RequestLog::Snapshot>(context_.stores.requests.serialize());
  auto outcome = std::make_shared<Outcome<void>>();
  const std::string path = context_.stores.requests.path();
  context_.connections.loop.post_work(
      [snapshot, outcome, path] { *outcome = write_atomically(path, snapshot->bytes, 0600); },
      [this, snapshot, outcome, alive = std::weak_ptr<int>(alive_)] {
        if (alive.expired()) return;
        saving_requests_ = false;
        if (*outcome) {
          context_.stores.requests.saved(snapshot->change);
          save_requests();
        } else {
          spdlog::warn("seen requests not saved: {}", outcome->failure().text);
        }
      });
}

// ---- for status ----

void ConnectionManager::each_connection(const std::function<void(const ConnectionView&)>& visit) const {
  for (const auto& [number, attempt] : attempts_) {
    ConnectionView view;
    view.attempt = attempt.get();
    view.outgoing = attempt->role() == proto::ConnectRole::kCaller;
    view.since = attempt->started();
    visit(view);
  }
  for (const auto& [number, connection] : connections_) {
    ConnectionView view;
    view.socket = connection.socket.get();
    view.outgoing = connection.role == proto::ConnectRole::kCaller;
    view.closing = !connection.socket->usable();
    view.trust = connection.trust;
    view.account = connection.account;
    view.since = connection.since;
    visit(view);
  }
}

ManagerTotals ConnectionManager::totals() const {
  ManagerTotals totals = past_;
  for (const auto& [number, connection] : connections_) add_to(totals, *connection.socket);
  return totals;
}

void ConnectionManager::add_to(ManagerTotals& totals, const MultiplexedSocket& socket) {
  ++totals.connections;
  totals.bytes_in += socket.bytes_in();
  totals.bytes_out += socket.bytes_out();
  totals.tls_records_in += socket.tls().records_in();
  totals.tls_records_out += socket.tls().records_out();
}

void ConnectionManager::each_channel(const std::function<void(const ChannelView&)>& visit) const {
  for (const auto& [handle, record] : channels_) {
    const Connection& connection = connections_.at(record.connection);
    const ChannelSocket* channel = connection.socket->channel(handle);
    if (channel == nullptr) continue;
    visit({handle, connection.socket->peer(), connection.account, record.uri, record.outgoing, channel->bytes_in(),
           channel->bytes_out(), record.since});
  }
}

}  // namespace connd::daemon
