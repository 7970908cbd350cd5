// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connection_manager.h"

#include <algorithm>
#include <ctime>

#include <spdlog/spdlog.h>

#include "daemon/system/log.h"
#include "daemon/trust/certificate_text.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

using nlohmann::json;

constexpr std::string_view kShuttingDownText = "this device's jami-connd is shutting down";

/// A peer's hello says what it may have here. The clock is the system's, unless a test has another.
ManagerSettings completed(ManagerSettings settings) {
  const std::size_t most = settings.limits.max_channels_per_peer;
  settings.mux.told_channels =
      static_cast<std::uint32_t>(std::min<std::size_t>(most == 0 ? proto::kMaxChannels : most, proto::kMaxChannels));
  if (!settings.clock) settings.clock = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
  return settings;
}

ConnectionView view_of(const PeerConnection& connection) {
  return {
      connection.socket.get(), nullptr,         connection.outgoing(), !connection.socket->usable(), connection.trust,
      connection.account,      connection.since};
}

}  // namespace

ConnectionManager::ConnectionManager(const Context& context, const Settings& settings, proto::DeviceId own,
                                     proto::TlsContext tls)
    : context_(context),
      settings_(completed(settings)),
      own_(own),
      chains_(context.stores, settings_.clock),
      revocations_(context.connections.loop, context.signalling, context.stores, [this] { trust_changed(); }),
      pair_keys_(context.connections.loop, context.signalling, context.stores, chains_, own, settings_.clock),
      self_notes_(context.connections.loop, context.signalling, context.events, own, settings_.own_public_key),
      channels_(context_.connections, context.apps, LeftChannels::kConnections * settings.mux.max_buffer),
      connections_(context_, settings_, own, chains_, channels_, [this] { on_tick(); }),
      connector_(context_, settings_, std::move(tls), *this, chains_, pair_keys_, connections_, *this),
      requests_(context_, settings_, chains_, connector_),
      held_([this] { bury_soon(); }),
      opens_(context_, settings_, own, chains_, connections_, channels_, connector_, held_),
      soon_(context.connections.loop, [this] { run_later(); }),
      dates_timer_(context.connections.loop, [this] { dates_changed(); }) {
  pair_keys_.prune();  // the trust list may have changed without us
  dates_timer_.arm_in(kDatesInterval);
  if (const auto chain = proto::CertificateChain::from_der(settings_.own_chain)) revocations_.is_own(*chain);
}

void ConnectionManager::set_settings(const Settings& settings) {
  settings_.limits = settings.limits;
  settings_.mux.told_channels = completed(settings).mux.told_channels;
  settings_.gate = settings.gate;
  requests_.set_settings(settings.gate);
}

// ---- connections come ----

void ConnectionManager::connected(std::unique_ptr<MultiplexedSocket> up, proto::ConnectRole role,
                                  proto::Duration after) {
  const proto::DeviceId device = up->peer();
  const bool met = connections_.met(device);
  const PeerConnection& connection = connections_.add(std::move(up), role);
  MultiplexedSocket& socket = *connection.socket;
  const ConnectionNumber number = socket.number();
  const proto::CertificateChain& chain = *socket.peer_chain();
  const Trust trust = connection.trust;
  if (const auto stored = chains_.met(chain); !stored) {
    spdlog::warn("certificate of {} not stored: {}", device.abbreviated(), stored.failure().text);
  }
  spdlog::info("connection={} peer={} up after_ms={} role={} path={} local={} remote={} trust={}", number,
               device.abbreviated(), after.count(), connection.outgoing() ? "caller" : "callee",
               socket.link().path().kind, socket.link().path().local, socket.link().path().remote, name_of(trust));
  pair_keys_.met(socket.link(), trust, connection.outgoing());
  requests_.let_in(device);
  context_.events.publish("connection.connected", [&] {
    json event = {{"connection", number},
                  {"peer", device.hex()},
                  {"account", connection.account.hex()},
                  {"direction", connection.outgoing() ? "outgoing" : "incoming"},
                  {"after_ms", after.count()}};
    if (!met) event["certificate"] = chain.pem();
    return event;
  });
  if (trust == Trust::kBanned) {
    socket.close_now(proto::Reason::kBanned, "this device has banned the peer");
    connector_.stop_calling(device);
    return opens_.call_failed(device,
                              {proto::Reason::kBanned, "this device has banned the peer's account or CA", false});
  }
  if (trust == Trust::kAllowed) {
    revocations_.met(chain);
    if (const auto former = chains_.former_chain(chain)) revocations_.met(*former);
  }
  opens_.connected(device);
  // Both sides prefer the connection that the lower id asked for. If that is the peer's, ours is not needed; the other
  // way round it is kept, so that two attempts that cross never end each other.
  if (device < own_ && role == proto::ConnectRole::kCallee) opens_.give_up_calling(device);
}

void ConnectionManager::call_failed(const proto::DeviceId& device, const AttemptFailure& failure) {
  opens_.call_failed(device, failure);
}

bool ConnectionManager::call_is_wanted(const proto::DeviceId& device, const AttemptFailure& failure) {
  return opens_.call_is_wanted(device, failure);
}

void ConnectionManager::on_up(MultiplexedSocket& socket) {
  (void)connector_.socket_up(socket);
}

// ---- and go ----

void ConnectionManager::on_down(MultiplexedSocket& socket, proto::Reason reason, const std::string& told,
                                std::error_code error) {
  const std::string text = certificate_fault_text(error, told, settings_.own_validity, settings_.clock());
  if (connector_.socket_down(socket, reason, text, error)) return;
  const ConnectionNumber number = socket.number();
  if (connections_.find(number) == nullptr) return;
  const proto::DeviceId device = socket.peer();
  spdlog::info("connection={} peer={} down reason={} text={}", number, device.abbreviated(), proto::reason_name(reason),
               log_quote(text));
  if (error == proto::Errc::kPeerNotAnswering) ++timed_out_;
  dead_sockets_.push_back(connections_.remove(number));
  json event = {{"connection", number}, {"peer", device.hex()}, {"reason", std::string(proto::reason_name(reason))}};
  if (!text.empty()) event["detail"] = text;
  context_.events.publish("connection.closed", event);
  held_.drop(number);
  channels_.connection_gone(socket, reason);
  opens_.connection_gone(number, reason, text);
  bury_soon();
}

std::size_t ConnectionManager::close_connections(const proto::DeviceId& device, proto::Reason reason,
                                                 std::string_view text) {
  const std::size_t attempts = [&] {
    std::size_t count = 0;
    connector_.each([&](const ConnectAttempt& attempt) { count += attempt.id().peer == device ? 1 : 0; });
    return count;
  }();
  opens_.cancel_for(device, proto::Reason::kCancelled);  // what was dialled for them goes with the last one
  (void)connector_.end_attempts(device, text);
  return attempts + connections_.close(device, reason, text);
}

void ConnectionManager::shut_down(std::function<void()> done) {
  shut_down_done_ = std::move(done);
  pair_keys_.stop();
  dates_timer_.stop();
  self_notes_.stop();
  opens_.stop(proto::Reason::kShuttingDown);
  connector_.stop();
  requests_.stop();
  connections_.close_all_drained(proto::Reason::kShuttingDown, kShuttingDownText);
  channels_.stop(proto::Reason::kShuttingDown, kShuttingDownText);
  bury_soon();
}

// ---- channels ----

void ConnectionManager::on_channel_requested(MultiplexedSocket& socket, proto::ChannelHandle channel,
                                             const std::string& uri, bool unique) {
  const PeerConnection* connection = connections_.find(socket.number());
  if (connection == nullptr) return socket.channels().refuse(channel, proto::Reason::kNotReady, {});
  if (unique && opens_.crosses(socket, channel, uri)) return;
  if (channels_.size() >= settings_.limits.max_channels) {
    return socket.channels().refuse(channel, proto::Reason::kResourceLimit,
                                    "the peer's jami-connd has as many channels as it can");
  }
  const std::size_t most = settings_.limits.max_channels_per_peer;
  if (most != 0 && connections_.channels_with(socket.peer()) > most) {  // this one included
    return socket.channels().refuse(channel, proto::Reason::kResourceLimit,
                                    "this device has as many channels with the peer as one may have there");
  }
  const ManagerLimits& limits = settings_.limits;
  if (channels_.name_bytes() + opens_.name_bytes() + uri.size() > limits.max_name_bytes ||
      channels_.name_bytes_asked(socket) + uri.size() > limits.max_peer_name_bytes) {
    return socket.channels().refuse(channel, proto::Reason::kResourceLimit,
                                    "the names of the channels there are too long");
  }
  channels_.requested(socket, channel, connection->account, uri);
  const bool covered = connection->trust != Trust::kAllowed || connection->scope.covers(uri);
  context_.apps.on_channel_requested({channel, socket.peer(), connection->account,
                                      covered ? connection->trust : Trust::kUnknown, uri, socket.rules().half_close});
}

void ConnectionManager::on_open_answered(MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason,
                                         const std::string& text) {
  opens_.answered(socket, channel, reason, text);
}

void ConnectionManager::on_request_cancelled(MultiplexedSocket& /*socket*/, proto::ChannelHandle channel,
                                             proto::Reason reason) {
  if (held_.take(channel)) return;  // nobody has heard of it
  channels_.request_cancelled(channel, reason);
}

void ConnectionManager::on_channel_closed(MultiplexedSocket& socket, const ChannelEnd& end) {
  if (PeerConnection* connection = connections_.find(socket.number())) {
    connection->idle_since = context_.connections.loop.now();
  }
  held_.look();
  channels_.ended(end);
}

void ConnectionManager::on_channel_left(MultiplexedSocket& /*socket*/, std::unique_ptr<ChannelSocket>& channel) {
  channels_.left(channel);
}

/// Peers' requests whose reason to be held is over: for opens of ours, or for the listeners.
void ConnectionManager::offer_held() {
  for (const OpenNumber number : held_.takers()) opens_.take_held(number);
  for (const proto::ChannelHandle channel : held_.channels()) {
    const auto held = held_.take(channel);  // gone, if what came before took it
    if (held) on_channel_requested(*connections_.at(held->connection).socket, channel, held->uri, true);
  }
}

// ---- what changes ----

void ConnectionManager::lists_changed() {
  revocations_.lists_changed();
  trust_changed();
}

void ConnectionManager::trust_changed() {
  requests_.trust_changed();
  pair_keys_.prune();
  connections_.trust_changed();
  connector_.trust_changed();
}

void ConnectionManager::dates_changed() {
  dates_timer_.arm_in(kDatesInterval);
  connections_.check_dates();
}

void ConnectionManager::on_signal(const SignalMessage& message) {
  auto request = proto::ConnectionRequest::decode(message.body);
  if (!request) {
    spdlog::debug("peer={} malformed connection request: {}", message.signer.abbreviated(), request.error().message());
    return;
  }
  if (message.signer == own_) {
    if (request->self) self_notes_.heard(*request->self);
    return;
  }
  if (request->self) return;  // what others tell themselves
  request->is_answer ? connector_.on_answer(message, *request) : requests_.on_request(message, std::move(*request));
}

// ---- time ----

void ConnectionManager::on_tick() {
  offer_held();
  const std::size_t living = connections_.size() + channels_.size() + opens_.size();
  const std::uint64_t begun = connections_.begun() + channels_.begun() + opens_.begun();
  if (!heap_trim_.due(begun, living)) return;
  const auto start = std::chrono::steady_clock::now();
  HeapTrim::trim();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
  spdlog::debug("heap trimmed in {} ms", took.count());
}

void ConnectionManager::bury_soon() {
  soon_.arm_in(proto::Duration{0});
}

/// What had to wait until nothing of ours is on the stack.
void ConnectionManager::run_later() {
  dead_sockets_.clear();
  connector_.bury();
  offer_held();
  requests_.save();
  const bool all_gone = connections_.size() == 0 && dead_sockets_.empty() && connector_.all_buried();
  if (shut_down_done_ && all_gone) std::exchange(shut_down_done_, nullptr)();
}

// ---- for status ----

void ConnectionManager::each_connection(const std::function<void(const ConnectionView&)>& visit) const {
  connector_.each([&](const ConnectAttempt& attempt) {
    ConnectionView view;
    view.attempt = &attempt;
    view.outgoing = attempt.role() == proto::ConnectRole::kCaller;
    view.since = attempt.started();
    visit(view);
  });
  connections_.each([&](const PeerConnection& connection) { visit(view_of(connection)); });
}

void ConnectionManager::see_connection(ConnectionNumber number,
                                       const std::function<void(const ConnectionView&)>& visit) const {
  if (const PeerConnection* connection = connections_.find(number)) visit(view_of(*connection));
}

ManagerTotals ConnectionManager::totals() const {
  ManagerTotals totals{connections_.totals()};
  totals.connections_failed = connector_.failed();
  totals.connections_timed_out = timed_out_;
  totals.requests_refused = requests_.refused();
  totals.opens_redialled = opens_.redialled();
  totals.channels_reset = channels_.reset();
  totals.channels_stalled = channels_.stalled();
  return totals;
}

}  // namespace connd::daemon
