// SPDX-License-Identifier: GPL-3.0-or-later
// Connections that are up, and time. How they come up is in connection_manager_attempts.cpp, opens are in
// connection_manager_opens.cpp.
#include "daemon/connection/connection_manager.h"

#include <ctime>
#include <limits>

#include <spdlog/spdlog.h>

#include "daemon/system/atomic_file.h"
#include "daemon/system/log.h"
#include "daemon/trust/certificate_text.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

ConnectAttempt::Context attempts_context(const ConnectionManager::Context& context,
                                         const ConnectionManager::Settings& settings, const proto::TlsContext& tls,
                                         MultiplexedSocket::Owner& owner) {
  return {context.connections, context.bridge, tls, settings.ice, settings.mux, context.stores, owner, settings.native};
}

/// A peer's hello says what it may have here. The clock is the system's, unless a test has another.
ConnectionManager::Settings completed(ConnectionManager::Settings settings) {
  const std::size_t most = settings.limits.max_channels_per_peer;
  settings.mux.told_channels =
      static_cast<std::uint32_t>(std::min<std::size_t>(most == 0 ? proto::kMaxChannels : most, proto::kMaxChannels));
  if (!settings.clock) settings.clock = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
  return settings;
}

}  // namespace

ConnectionManager::ConnectionManager(const Context& context, const Settings& settings, proto::DeviceId own,
                                     proto::TlsContext tls)
    : context_(context),
      settings_(completed(settings)),
      own_(own),
      tls_(std::move(tls)),
      attempts_context_(attempts_context(context_, settings_, tls_, *this)),
      chains_(context.stores, settings_.clock),
      gate_(context.connections.loop, context.signalling, context.stores, chains_, context.asker,
            context.connections.handles.questions, settings.gate),
      request_saver_(context.connections.loop, context.stores.requests),
      revocations_(context.connections.loop, context.signalling, context.stores, [this] { trust_changed(); }),
      random_(std::random_device{}()),
      pair_keys_(context.connections.loop, context.signalling, context.stores, chains_, own, settings_.clock),
      self_notes_(context.connections.loop, context.signalling, context.events, own, settings_.own_public_key, random_),
      left_(context.connections.turns, LeftChannels::kConnections * settings.mux.max_buffer,
            [this](const ChannelEnd& end) { left_channel_ended(end); }),
      tick_(context.connections.loop, [this] { on_tick(); }),
      deadline_(context.connections.loop, [this] { expire_opens(); }),
      soon_(context.connections.loop, [this] { run_later(); }),
      dates_timer_(context.connections.loop, [this] { check_dates(); }) {
  pair_keys_.prune();  // the trust list may have changed without us
  dates_timer_.arm_in(kDatesInterval);
  if (const auto own = proto::CertificateChain::from_der(settings_.own_chain)) revocations_.is_own(*own);
}

void ConnectionManager::set_settings(const Settings& settings) {
  settings_.limits = settings.limits;
  settings_.mux.told_channels = completed(settings).mux.told_channels;
  settings_.gate = settings.gate;
  gate_.set_settings(settings.gate);
}

ConnectionManager::~ConnectionManager() = default;

// ---- from the connections ----

void ConnectionManager::on_up(MultiplexedSocket& socket) {
  const auto it = attempts_.find(socket.number());
  if (it != attempts_.end()) it->second->socket_up();
}

void ConnectionManager::on_down(MultiplexedSocket& socket, proto::Reason reason, const std::string& told,
                                std::error_code error) {
  const std::string text = certificate_fault_text(error, told, settings_.own_validity, unix_now());
  if (const auto it = attempts_.find(socket.number()); it != attempts_.end()) {
    const bool ours = error.category() == proto::error_category();
    return it->second->socket_down(ours ? proto::reason_of(error) : reason, text);
  }
  if (const auto gone = leaving_.find(socket.number()); gone != leaving_.end()) {
    dead_sockets_.push_back(std::move(gone->second));
    leaving_.erase(gone);
    return soon();
  }
  const auto it = connections_.find(socket.number());
  if (it == connections_.end()) return;
  const ConnectionNumber number = it->first;
  const proto::DeviceId device = socket.peer();
  spdlog::info("connection={} peer={} down reason={} text={}", number, device.abbreviated(), proto::reason_name(reason),
               log_quote(text));
  add_to(past_, socket);
  if (error == proto::Errc::kPeerNotAnswering) ++past_.connections_timed_out;
  dead_sockets_.push_back(std::move(it->second.socket));
  Released opens{std::move(it->second.opens),
                 [this, reason, text](OpenNumber open) { redial_or_fail(open, reason, text); }};
  connections_.erase(it);
  auto& list = peers_[device].connections;
  list.erase(std::remove(list.begin(), list.end(), number), list.end());
  peers_[device].last_up = context_.connections.loop.now();
  nlohmann::json event = {
      {"connection", number}, {"peer", device.hex()}, {"reason", std::string(proto::reason_name(reason))}};
  if (!text.empty()) event["detail"] = text;
  context_.events.publish("connection.closed", event);
  drop_held(number);
  drop_requests(number, reason);
  go_on(std::move(opens));
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
                                             const std::string& uri, bool unique) {
  const auto it = connections_.find(socket.number());
  if (it == connections_.end()) return socket.refuse(channel, proto::Reason::kNotReady, {});
  if (unique && crosses_ours(socket, channel, uri)) return;
  if (channels_.size() >= settings_.limits.max_channels) {
    return socket.refuse(channel, proto::Reason::kResourceLimit,
                         "the peer's jami-connd has as many channels as it can");
  }
  const std::size_t most = settings_.limits.max_channels_per_peer;
  if (most != 0 && channels_with(socket.peer()) > most) {  // this one included
    return socket.refuse(channel, proto::Reason::kResourceLimit,
                         "this device has as many channels with the peer as one may have there");
  }
  channels_.emplace(channel, ChannelRecord{socket.number(), socket.peer(), it->second.account, uri, false, false,
                                           context_.connections.loop.now()});
  const Connection& connection = it->second;
  const bool covered = connection.trust != Trust::kAllowed || connection.scope.covers(uri);
  context_.apps.on_channel_requested({channel, socket.peer(), connection.account,
                                      covered ? connection.trust : Trust::kUnknown, uri, socket.rules().half_close});
}

void ConnectionManager::on_request_cancelled(MultiplexedSocket& /*socket*/, proto::ChannelHandle channel,
                                             proto::Reason reason) {
  if (held_.erase(channel) > 0) return;  // nobody has heard of it
  if (channels_.erase(channel) > 0) context_.apps.on_channel_request_cancelled(channel, reason);
}

void ConnectionManager::on_channel_closed(MultiplexedSocket& socket, const ChannelEnd& end) {
  const auto record = channels_.find(end.channel);
  if (record != channels_.end()) channels_.erase(record);
  if (const auto it = connections_.find(socket.number()); it != connections_.end()) {
    it->second.idle_since = context_.connections.loop.now();
  }
  if (!held_.empty()) soon();
  count_end(end);
  context_.apps.on_channel_closed(end);
}

void ConnectionManager::count_end(const ChannelEnd& end) {
  if (end.reason == proto::Reason::kReset) ++past_.channels_reset;
  if (end.reason == proto::Reason::kStalled) ++past_.channels_stalled;
}

void ConnectionManager::on_channel_left(MultiplexedSocket& /*socket*/, std::unique_ptr<ChannelSocket>& channel) {
  const auto record = channels_.find(channel->handle());
  if (shutting_down_ || record == channels_.end() || !left_.take(channel)) return;
  record->second.connection = 0;
}

void ConnectionManager::left_channel_ended(const ChannelEnd& end) {
  channels_.erase(end.channel);
  count_end(end);
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
    channels_.erase(record);
    const std::error_code error = fd.error();
    const bool over = error == proto::Errc::kGoingAway || error == std::errc::operation_canceled;
    return OpenError{over ? proto::Reason::kNotFound : proto::Reason::kResourceLimit, error.message()};
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

proto::Result<void> ConnectionManager::attach_channel(proto::ChannelHandle channel, ipc::Fd fd) {
  const auto record = channels_.find(channel);
  if (record == channels_.end() || !record->second.accepted) return std::make_error_code(std::errc::operation_canceled);
  if (record->second.connection == 0) return left_.attach_app(channel, std::move(fd), context_.connections.poller);
  return connections_.at(record->second.connection).socket->attach_app(channel, std::move(fd));
}

bool ConnectionManager::finish_channel(proto::ChannelHandle channel) {
  const auto record = channels_.find(channel);
  if (record == channels_.end()) return false;
  if (record->second.connection == 0) return true;  // it has ended already
  return connections_.at(record->second.connection).socket->finish(channel);
}

bool ConnectionManager::close_channel(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  const auto record = channels_.find(channel);
  if (record == channels_.end()) return false;
  if (record->second.connection == 0) return left_.close(channel, reason, text);
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

void ConnectionManager::shut_down(std::function<void()> done) {
  shutting_down_ = true;
  pair_keys_.stop();
  request_saver_.flush();
  dates_timer_.stop();
  self_notes_.stop();
  shut_down_done_ = std::move(done);
  while (!opens_.empty()) {
    (void)cancel_open(opens_.begin()->first, proto::Reason::kShuttingDown);
  }
  while (!attempts_.empty()) abandon_attempt(attempts_.begin()->first, proto::Reason::kShuttingDown);
  gate_.give_up_all();
  for (auto& [number, connection] : connections_) {
    connection.socket->close_drained(proto::Reason::kShuttingDown, "this device's jami-connd is shutting down");
  }
  left_.close_all(proto::Reason::kShuttingDown, "this device's jami-connd is shutting down");
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
  offer_held();
  close_idle();
  trim_heap();
  if (retries || !connections_.empty()) start_ticking();
}

void ConnectionManager::trim_heap() {
  if (!heap_trim_.due(living())) return;
  const auto begun = std::chrono::steady_clock::now();
  HeapTrim::trim();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  spdlog::debug("heap trimmed in {} ms", took.count());
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

/// Also those that are asked for, over all connections with this peer.
std::size_t ConnectionManager::channels_with(const proto::DeviceId& device) const {
  std::size_t count = 0;
  for (const ConnectionNumber number : peers_.at(device).connections) {
    count += connections_.at(number).socket->mux_state()->channel_count();
  }
  return count;
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
  run_opens();
  offer_held();
  request_saver_.on_change();
  const bool all_gone = connections_.empty() && leaving_.empty() && dead_sockets_.empty();
  if (shut_down_done_ && all_gone) std::exchange(shut_down_done_, nullptr)();
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
  for (const auto& [number, connection] : connections_) see_connection(number, visit);
}

void ConnectionManager::see_connection(ConnectionNumber number,
                                       const std::function<void(const ConnectionView&)>& visit) const {
  const auto it = connections_.find(number);
  if (it == connections_.end()) return;
  const Connection& connection = it->second;
  ConnectionView view;
  view.socket = connection.socket.get();
  view.outgoing = connection.role == proto::ConnectRole::kCaller;
  view.closing = !connection.socket->usable();
  view.trust = connection.trust;
  view.account = connection.account;
  view.since = connection.since;
  visit(view);
}

ManagerTotals ConnectionManager::totals() const {
  ManagerTotals totals = past_;
  for (const auto& [number, connection] : connections_) add_to(totals, *connection.socket);
  return totals;
}

void ConnectionManager::add_to(ManagerTotals& totals, const MultiplexedSocket& socket) {
  ++totals.connections;
  const Link::Counts counts = socket.link().counts();
  totals.bytes_in += counts.bytes_in;
  totals.bytes_out += counts.bytes_out;
  totals.tls_records_in += counts.records_in;
  totals.tls_records_out += counts.records_out;
}

void ConnectionManager::each_channel(const std::function<void(const ChannelView&)>& visit) const {
  for (const auto& [handle, record] : channels_) see(handle, record, visit);
}

void ConnectionManager::see_channel(proto::ChannelHandle handle,
                                    const std::function<void(const ChannelView&)>& visit) const {
  if (const auto it = channels_.find(handle); it != channels_.end()) see(handle, it->second, visit);
}

void ConnectionManager::see(proto::ChannelHandle handle, const ChannelRecord& record,
                            const std::function<void(const ChannelView&)>& visit) const {
  const ChannelSocket* channel = channel_of(handle, record);
  if (channel == nullptr) return;
  visit({handle, record.device, record.account, record.uri, record.outgoing, channel->bytes_in(), channel->bytes_out(),
         record.since});
}

const ChannelSocket* ConnectionManager::channel_of(proto::ChannelHandle handle, const ChannelRecord& record) const {
  if (record.connection == 0) return left_.find(handle);
  return connections_.at(record.connection).socket->channel(handle);
}

}  // namespace connd::daemon
