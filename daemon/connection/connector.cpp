// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connector.h"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/connection/connect_limits.h"
#include "daemon/system/log.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

using nlohmann::json;

PeerKind kind_of(const proto::ConnectionRequest& request, const ManagerSettings& settings) {
  return settings.native && request.native_version ? PeerKind::kNative : PeerKind::kJami;
}

const char* direction(const ConnectAttempt& attempt) {
  return attempt.role() == proto::ConnectRole::kCaller ? "outgoing" : "incoming";
}

}  // namespace

Connector::Connector(const ManagerContext& context, const ManagerSettings& settings, proto::TlsContext tls,
                     MultiplexedSocket::Owner& socket_owner, KnownChains& chains, PairKeys& pair_keys,
                     PeerConnections& connections, Owner& owner)
    : context_(context),
      settings_(settings),
      tls_(std::move(tls)),
      attempts_context_{context.connections, context.bridge,  tls_,
                        settings.ice,        settings.mux,    context.stores,
                        socket_owner,        settings.native, settings.native ? context.doors : nullptr},
      chains_(chains),
      pair_keys_(pair_keys),
      connections_(connections),
      owner_(owner),
      retry_(context.connections.loop, [this] { retry(); }) {}

// ---- calls ----

bool Connector::has_room() const {
  return connections_.size() + attempts_.size() < settings_.limits.max_connections;
}

void Connector::call(const proto::DeviceId& device) {
  if (!is_calling(device)) dial(device);
}

bool Connector::is_calling(const proto::DeviceId& device) const {
  const auto it = calls_.find(device);
  return it != calls_.end() && it->second.under_way();
}

void Connector::learned(const proto::DeviceId& device, const proto::ShortDeviceId& short_id,
                        proto::ByteVector public_key) {
  Called& called = calls_[device];
  called.short_id = short_id;
  called.public_key = std::move(public_key);
}

void Connector::stop_calling(const proto::DeviceId& device) {
  const auto it = calls_.find(device);
  if (it == calls_.end()) return;
  const ConnectionNumber attempt = it->second.attempt;
  calls_.erase(it);
  abandon(attempt, proto::Reason::kCancelled);
}

std::optional<Connector::Call> Connector::call_of(const proto::DeviceId& device) const {
  const auto it = calls_.find(device);
  if (it == calls_.end()) return std::nullopt;
  Call call{it->second.failures, it->second.last_failure, std::nullopt};
  const auto attempt = attempts_.find(it->second.attempt);
  if (attempt != attempts_.end()) call.state = attempt->second->state();
  return call;
}

OpenError Connector::silence_of(const proto::DeviceId& device, proto::Reason reason) const {
  const auto it = calls_.find(device);
  const KnownOfPeer known{it != calls_.end() ? it->second.known_by : KnownBy::kNothing, connections_.last_up(device)};
  return daemon::silence_of(reason, known, context_.signalling.online(), context_.connections.loop.now());
}

void Connector::dial(const proto::DeviceId& device) {
  Called& called = calls_[device];
  called.retry_at = proto::kNever;
  // PROTOCOL.md, section 4: whether the checks of both sides are patient. Every second attempt of a row is.
  constexpr std::uint64_t kMostHalf = proto::ConnectionRequest::kMaxId / 2 - 1;
  const std::uint64_t request_id =
      2 * std::uniform_int_distribution<std::uint64_t>(1, kMostHalf)(random_) + called.failures % 2;
  const AttemptId id{context_.connections.handles.connections.take(), request_id, device};
  called.attempt = id.number;
  ConnectAttempt::Owner& owner = *this;
  launch(std::make_unique<ConnectAttempt>(attempts_context_, owner, id, settings_.times));
}

void Connector::retry() {
  const proto::TimePoint now = context_.connections.loop.now();
  std::vector<proto::DeviceId> due;
  for (const auto& [device, called] : calls_) {
    if (called.retry_at <= now) due.push_back(device);
  }
  for (const proto::DeviceId& device : due) {
    const auto it = calls_.find(device);
    if (it == calls_.end() || it->second.retry_at > now) continue;
    dial(device);
  }
  arm();
}

void Connector::arm() {
  proto::TimePoint first = proto::kNever;
  for (const auto& [device, called] : calls_) first = std::min(first, called.retry_at);
  retry_.arm(first);
}

// ---- attempts ----

void Connector::launch(std::unique_ptr<ConnectAttempt> attempt) {
  ConnectAttempt& started = *attempt;
  attempts_.emplace(started.id().number, std::move(attempt));
  context_.events.publish(
      "connection.connecting",
      {{"connection", started.id().number}, {"peer", started.id().peer.hex()}, {"direction", direction(started)}});
  started.start();
}

void Connector::attempt_resolves(ConnectAttempt& attempt) {
  const proto::DeviceId device = attempt.id().peer;
  const ConnectionNumber number = attempt.id().number;
  // All that it takes to call a device is its key, which has the id that it is called by. Who it is, and whether its
  // certificate is good, is seen in TLS.
  const auto call = calls_.find(device);
  if (call == calls_.end()) return;
  Called& called = call->second;
  if (auto known = chains_.key_of(device)) {
    called.known_by = KnownBy::kStore;
    return resolved(number, std::move(known), false);
  }
  called.known_by = called.public_key.empty() ? KnownBy::kNothing : KnownBy::kAnnouncement;
  if (!called.public_key.empty() && !context_.stores.trust.has_chain_entries()) {
    return resolved(number, called.public_key, false);
  }
  called.known_by = KnownBy::kCertificate;                  // if it is found: see resolved()
  const auto seen = std::make_shared<KnownChains::Seen>();  // second owner: the search
  context_.signalling.find_chain(
      device, called.short_id, context_.connections.loop.now() + settings_.times.resolve, ChainUse::kCall,
      chains_.for_call(seen), [this, device, number, seen](const std::optional<proto::CertificateChain>& chain) {
        const auto it = calls_.find(device);
        if (chain && it != calls_.end()) it->second.known_by = KnownBy::kCertificate;
        resolved(number, chain ? std::optional(chain->public_key_der()) : std::nullopt, seen->bans());
      });
}

/// Of a device that is called, or calls; `public_key` is empty while it is not known.
Trust Connector::trust_of(const proto::DeviceId& device, const proto::ByteVector& public_key) {
  if (public_key.empty()) return chains_.trust_of(device);
  return chains_.trust_of(device, proto::short_device_id_of(public_key));
}

void Connector::resolved(ConnectionNumber number, std::optional<proto::ByteVector> public_key, bool banned) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  ConnectAttempt& attempt = *it->second;
  const proto::DeviceId device = attempt.id().peer;
  const auto called = calls_.find(device);
  if (!public_key && called != calls_.end()) {
    called->second.known_by = called->second.public_key.empty() ? KnownBy::kNothing : KnownBy::kAnnouncement;
    if (!called->second.public_key.empty()) public_key = called->second.public_key;
  }
  if (banned || trust_of(device, public_key.value_or(proto::ByteVector())) == Trust::kBanned) {
    return attempt.reject(proto::Reason::kBanned, "this device has banned the peer, or its account or CA");
  }
  if (!public_key) return attempt.on_certificate(false);
  Target& target = targets_[number];
  target.to = {std::move(*public_key), SignalKeys::kBoth, pair_keys_.to(device)};
  target.by_pair_first = !target.to.pair_keys.empty();
  attempt.on_certificate(true, target.by_pair_first);
}

void Connector::attempt_signals(ConnectAttempt& attempt, const std::string& ice_text, bool is_answer) {
  const auto target = targets_.find(attempt.id().number);
  if (target == targets_.end()) return;
  proto::ConnectionRequest request;
  request.id = attempt.id().request_id;
  request.ice_text = ice_text;
  request.is_answer = is_answer;
  if (settings_.native) request.native_version = proto::ConnectionRequest::kNativeVersion;
  SignalTarget to = target->second.to;
  if (std::exchange(target->second.by_pair_first, false)) to.keys = SignalKeys::kNone;
  // A peer of ours that hears of this only here may know us by our account alone, and would have to look our chain up.
  // With it a request comes in parts, each of which can be lost: every other one goes without.
  const bool with_chain = !is_answer && settings_.native && to.keys != SignalKeys::kNone &&
                          std::exchange(target->second.chain_next, !target->second.chain_next);
  if (with_chain && settings_.own_chain.size() <= proto::ConnectionRequest::kMaxChainBytes) {
    request.chain = settings_.own_chain;
  }
  context_.signalling.send(to, request.encode());
  if (!is_answer) context_.signalling.expect_answer(attempt.id().peer);
}

void Connector::attempt_moved(ConnectAttempt& attempt, proto::ConnectState before) {
  const proto::ConnectState state = attempt.state();
  const auto elapsed = context_.connections.loop.now() - attempt.started();
  spdlog::debug("connection={} peer={} attempt={}->{} after_ms={}", attempt.id().number,
                attempt.id().peer.abbreviated(), proto::to_string(before), proto::to_string(state), elapsed.count());
  context_.events.publish("connection.progress", [&] {
    return json{{"connection", attempt.id().number},
                {"peer", attempt.id().peer.hex()},
                {"state", std::string(proto::to_string(state))},
                {"after_ms", elapsed.count()}};
  });
}

/// What the stage alone says is little: it is told with what this device knows besides.
AttemptFailure Connector::explained(const proto::DeviceId& device, AttemptFailure failure) const {
  const bool silent = failure.reason == proto::Reason::kNotFound || failure.reason == proto::Reason::kNoAnswerOrRefused;
  if (!silent) return failure;
  OpenError said = silence_of(device, failure.reason);
  failure.reason = said.reason;
  failure.text = std::move(said.text);
  return failure;
}

void Connector::attempt_failed(ConnectAttempt& attempt, const AttemptFailure& told) {
  const proto::DeviceId device = attempt.id().peer;
  const ConnectionNumber number = attempt.id().number;
  const AttemptFailure failure = explained(device, told);
  const bool outgoing = attempt.role() == proto::ConnectRole::kCaller;
  spdlog::info("connection={} peer={} failed reason={} text={}", number, device.abbreviated(),
               proto::reason_name(failure.reason), log_quote(failure.text));
  publish_failed(attempt, failure.reason, failure.text);
  drop(number, failure.reason, failure.text);
  if (!outgoing) return;
  if (const auto it = calls_.find(device); it != calls_.end()) it->second.attempt = 0;
  if (!failure.worth_retrying || !owner_.call_is_wanted(device, failure)) {
    calls_.erase(device);
    return owner_.call_failed(device, failure);
  }
  Called& called = calls_[device];
  if (called.attempt != 0) return;  // who was told of the failure has stopped the call, and begun another
  ++called.failures;
  called.last_failure = failure;
  if (called.failures == 1) return dial(device);
  const unsigned doublings = std::min(called.failures - 2, kMaxBackoffDoublings);
  called.retry_at = context_.connections.loop.now() + kFirstBackoff * (1u << doublings);
  arm();
}

void Connector::publish_failed(const ConnectAttempt& attempt, proto::Reason reason, std::string_view text) {
  json event = {{"connection", attempt.id().number},
                {"peer", attempt.id().peer.hex()},
                {"direction", direction(attempt)},
                {"reason", std::string(proto::reason_name(reason))}};
  if (!text.empty()) event["detail"] = std::string(text);
  context_.events.publish("connection.failed", event);
  ++failed_;
}

/// Of an attempt that nobody needs any more. Who was told that it began is told that it is over.
void Connector::abandon(ConnectionNumber number, proto::Reason reason) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  publish_failed(*it->second, reason, {});
  drop(number, reason, {});
}

/// A peer that has come through TLS is told why there will be no connection.
void Connector::drop(ConnectionNumber number, proto::Reason reason, std::string_view text) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  const proto::ConnectState state = it->second->state();
  if (state != proto::ConnectState::kReady && state != proto::ConnectState::kFailed) {
    spdlog::debug("connection={} peer={} attempt={}->abandoned", number, it->second->id().peer.abbreviated(),
                  proto::to_string(state));
  }
  it->second->abandon();
  for (auto& socket : it->second->take_sockets()) {
    if (socket->can_say_why() && leaving_.size() < kMaxLeaving && !leaving_.contains(number)) {
      socket->close_drained(reason, text);
      leaving_.emplace(number, std::move(socket));
    } else {
      dead_sockets_.push_back(std::move(socket));
    }
  }
  dead_attempts_.push_back(std::move(it->second));
  attempts_.erase(it);
  targets_.erase(number);
  unknown_setups_.erase(number);
  owner_.bury_soon();
}

void Connector::attempt_done(ConnectAttempt& attempt) {
  if (chains_.taken_back(*attempt.socket()->peer_chain())) {
    return attempt_failed(attempt, {proto::Reason::kBadCertificate, std::string(kTakenBack), false});
  }
  const ConnectionNumber number = attempt.id().number;
  const proto::ConnectRole role = attempt.role();
  const proto::Duration after = context_.connections.loop.now() - attempt.started();
  std::unique_ptr<MultiplexedSocket> socket = std::move(attempt.take_sockets().front());
  if (const auto it = calls_.find(attempt.id().peer); it != calls_.end()) {
    // An attempt of ours that is under way beside this one goes on.
    const bool over = it->second.attempt == 0 || it->second.attempt == number;
    it->second.failures = 0;
    if (over) calls_.erase(it);
  }
  drop(number, proto::Reason::kClosed, {});
  owner_.connected(std::move(socket), role, after);
}

void Connector::socket_secured(const MultiplexedSocket& socket) {
  const auto it = attempts_.find(socket.number());
  if (it != attempts_.end()) it->second->socket_secured(socket);
}

bool Connector::socket_up(const MultiplexedSocket& socket) {
  const auto it = attempts_.find(socket.number());
  if (it == attempts_.end()) return false;
  it->second->socket_up(socket);
  return true;
}

bool Connector::socket_down(const MultiplexedSocket& socket, proto::Reason reason, const std::string& text,
                            std::error_code error) {
  if (const auto it = attempts_.find(socket.number()); it != attempts_.end()) {
    const bool ours = error.category() == proto::error_category();
    it->second->socket_down(socket, ours ? proto::reason_of(error) : reason, text);
    return true;
  }
  const auto gone = leaving_.find(socket.number());
  if (gone == leaving_.end()) return false;
  dead_sockets_.push_back(std::move(gone->second));
  leaving_.erase(gone);
  owner_.bury_soon();
  return true;
}

void Connector::attempt_let_go(std::unique_ptr<MultiplexedSocket> socket) {
  dead_sockets_.push_back(std::move(socket));
  owner_.bury_soon();
}

std::size_t Connector::end_attempts(const proto::DeviceId& device, std::string_view text) {
  std::vector<ConnectionNumber> numbers;
  for (const auto& [number, attempt] : attempts_) {
    if (attempt->id().peer == device) numbers.push_back(number);
  }
  for (const ConnectionNumber number : numbers) {
    // The end of one may have been the end of another.
    const auto it = attempts_.find(number);
    if (it != attempts_.end()) attempt_failed(*it->second, {proto::Reason::kCancelled, std::string(text), false});
  }
  return numbers.size();
}

void Connector::trust_changed() {
  std::vector<ConnectionNumber> banned;
  for (auto& [number, attempt] : attempts_) {
    const auto target = targets_.find(number);
    const proto::ByteVector key = target != targets_.end() ? target->second.to.public_key : proto::ByteVector();
    if (trust_of(attempt->id().peer, key) == Trust::kBanned) banned.push_back(number);
  }
  for (const ConnectionNumber number : banned) {
    if (const auto it = attempts_.find(number); it != attempts_.end()) {
      attempt_failed(*it->second, {proto::Reason::kBanned, "this device has banned the peer", false});
    }
  }
}

void Connector::stop() {
  calls_.clear();
  retry_.stop();
  while (!attempts_.empty()) abandon(attempts_.begin()->first, proto::Reason::kShuttingDown);
}

void Connector::bury() {
  dead_sockets_.clear();
  dead_attempts_.clear();
}

void Connector::each(const std::function<void(const ConnectAttempt&)>& visit) const {
  for (const auto& [number, attempt] : attempts_) visit(*attempt);
}

// ---- requests and answers from the DHT ----

void Connector::on_answer(const SignalMessage& message, const proto::ConnectionRequest& answer) {
  // An answer counts only from the device that was asked, for the request that is under way (A9).
  const auto called = calls_.find(message.signer);
  if (called == calls_.end()) return;
  const auto it = attempts_.find(called->second.attempt);
  if (it == attempts_.end() || it->second->id().request_id != answer.id) return;
  if (!it->second->awaits_answer()) return;
  auto remote = proto::IceDescription::parse(answer.ice_text);
  if (!remote) return it->second->reject(proto::Reason::kProtocolError, remote.error().message());
  it->second->on_answer(*remote, kind_of(answer, settings_));
}

std::optional<std::string_view> Connector::answer(const SignalMessage& message, const proto::ConnectionRequest& request,
                                                  proto::IceDescription remote, Trust trust) {
  const proto::DeviceId device = message.signer;
  // A peer asks anew when it has given the last attempt up.
  std::vector<ConnectionNumber> old;
  for (const auto& [number, attempt] : attempts_) {
    if (attempt->role() == proto::ConnectRole::kCallee && attempt->id().peer == device) old.push_back(number);
  }
  for (const ConnectionNumber number : old) abandon(number, proto::Reason::kCancelled);
  connections_.probe(device);
  if (connections_.count(device) >= kMaxConnectionsPerPeer) return "the peer has too many connections";
  if (!room_for_answer(trust)) return "too many connections are being set up";

  const AttemptId id{context_.connections.handles.connections.take(), request.id, device};
  targets_[id.number].to = to_answer(message);
  if (trust != Trust::kAllowed) unknown_setups_.insert(id.number);
  ConnectAttempt::Owner& owner = *this;
  launch(std::make_unique<ConnectAttempt>(attempts_context_, owner, id, settings_.times, std::move(remote),
                                          kind_of(request, settings_)));
  return std::nullopt;
}

/// By the key by which the message came.
SignalTarget Connector::to_answer(const SignalMessage& message) {
  SignalTarget to{message.signer_public_key, message.at_short_key ? SignalKeys::kShort : SignalKeys::kLong};
  if (message.at_pair_key) to.pair_keys = pair_keys_.to(message.signer);
  if (!to.pair_keys.empty()) to.keys = SignalKeys::kNone;
  return to;
}

/// A caller that was asked by a pair key, and asks by the others now, may not have heard the answer there.
void Connector::repeat_answer(ConnectAttempt& attempt, const SignalMessage& message) {
  SignalTarget& to = targets_[attempt.id().number].to;
  if (to.keys == SignalKeys::kNone && !message.at_pair_key) to.keys = to_answer(message).keys;
  attempt.repeat_answer();
}

bool Connector::room_for_answer(Trust trust) const {
  std::size_t all = 0;
  std::size_t unknown = 0;
  for (const auto& [number, attempt] : attempts_) {
    if (attempt->role() != proto::ConnectRole::kCallee) continue;
    ++all;
    unknown += unknown_setups_.count(number);
  }
  if (!has_room() || all >= settings_.limits.max_setups) return false;
  return trust == Trust::kAllowed || unknown < settings_.limits.max_unknown_setups;
}

ConnectAttempt* Connector::answering(const proto::DeviceId& peer, std::uint64_t request_id) const {
  for (const auto& [number, attempt] : attempts_) {
    const AttemptId& id = attempt->id();
    const bool callee = attempt->role() == proto::ConnectRole::kCallee;
    if (callee && id.peer == peer && id.request_id == request_id) return attempt.get();
  }
  return nullptr;
}

}  // namespace connd::daemon
