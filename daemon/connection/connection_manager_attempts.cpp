// SPDX-License-Identifier: GPL-3.0-or-later
// How connections come up: attempts of ours, requests and answers from the DHT.
#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/connection/connect_limits.h"
#include "daemon/connection/connection_manager.h"
#include "daemon/system/log.h"

namespace connd::daemon {
namespace {

using nlohmann::json;

PeerKind kind_of(const proto::ConnectionRequest& request, const ConnectionManager::Settings& settings) {
  return settings.native && request.native_version ? PeerKind::kNative : PeerKind::kJami;
}

}  // namespace

// ---- bringing connections up ----

void ConnectionManager::dial(const proto::DeviceId& device) {
  Peer& peer = peers_[device];
  peer.retry_at = proto::kNever;
  const std::uint64_t request_id =
      std::uniform_int_distribution<std::uint64_t>(1, proto::ConnectionRequest::kMaxId)(random_);
  const AttemptId id{context_.connections.handles.connections.take(), request_id, device};
  peer.dialling = id.number;
  ConnectAttempt::Owner& owner = *this;
  launch(std::make_unique<ConnectAttempt>(attempts_context_, owner, id, settings_.times));
}

void ConnectionManager::launch(std::unique_ptr<ConnectAttempt> attempt) {
  ConnectAttempt& started = *attempt;
  attempts_.emplace(started.id().number, std::move(attempt));
  context_.events.publish("connection.connecting",
                          {{"connection", started.id().number},
                           {"peer", started.id().peer.hex()},
                           {"direction", started.role() == proto::ConnectRole::kCaller ? "outgoing" : "incoming"}});
  started.start();
}

void ConnectionManager::attempt_resolves(ConnectAttempt& attempt) {
  const proto::DeviceId device = attempt.id().peer;
  const ConnectionNumber number = attempt.id().number;
  // All that it takes to call a device is its key, which has the id that it is called by. Who it is, and whether its
  // certificate is good, is seen in TLS.
  Peer& peer = peers_[device];
  if (auto known = chains_.key_of(device)) {
    peer.known_by = KnownBy::kStore;
    return resolved(number, std::move(known), false);
  }
  peer.known_by = peer.public_key.empty() ? KnownBy::kNothing : KnownBy::kAnnouncement;
  if (!peer.public_key.empty() && !context_.stores.trust.has_chain_entries()) {
    return resolved(number, peer.public_key, false);
  }
  peer.known_by = KnownBy::kCertificate;                    // if it is found: see resolved()
  const auto seen = std::make_shared<KnownChains::Seen>();  // second owner: the search
  context_.signalling.find_chain(
      device, peer.short_id, context_.connections.loop.now() + settings_.times.resolve, ChainUse::kCall,
      chains_.for_call(seen), [this, device, number, seen](const std::optional<proto::CertificateChain>& chain) {
        const auto called = peers_.find(device);
        if (chain && called != peers_.end()) called->second.known_by = KnownBy::kCertificate;
        resolved(number, chain ? std::optional(chain->public_key_der()) : std::nullopt, seen->bans());
      });
}

/// Of a device that is called, or calls; `public_key` is empty while it is not known.
Trust ConnectionManager::trust_of(const proto::DeviceId& device, const proto::ByteVector& public_key) {
  if (public_key.empty()) return chains_.trust_of(device);
  return chains_.trust_of(device, proto::short_device_id_of(public_key));
}

void ConnectionManager::resolved(ConnectionNumber number, std::optional<proto::ByteVector> public_key, bool banned) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  ConnectAttempt& attempt = *it->second;
  const proto::DeviceId device = attempt.id().peer;
  const auto peer = peers_.find(device);
  if (!public_key && peer != peers_.end()) {
    peer->second.known_by = peer->second.public_key.empty() ? KnownBy::kNothing : KnownBy::kAnnouncement;
    if (!peer->second.public_key.empty()) public_key = peer->second.public_key;
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

void ConnectionManager::attempt_signals(ConnectAttempt& attempt, const std::string& ice_text, bool is_answer) {
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

void ConnectionManager::attempt_moved(ConnectAttempt& attempt, proto::ConnectState state) {
  const auto elapsed = context_.connections.loop.now() - attempt.started();
  spdlog::debug("connection={} peer={} state={} after_ms={}", attempt.id().number, attempt.id().peer.abbreviated(),
                proto::to_string(state), elapsed.count());
  context_.events.publish("connection.progress", {{"connection", attempt.id().number},
                                                  {"peer", attempt.id().peer.hex()},
                                                  {"state", std::string(proto::to_string(state))},
                                                  {"after_ms", elapsed.count()}});
}

/// What the stage alone says is little: it is told with what this device knows besides.
AttemptFailure ConnectionManager::explained(const proto::DeviceId& device, AttemptFailure failure) const {
  const bool silent = failure.reason == proto::Reason::kNotFound || failure.reason == proto::Reason::kNoAnswerOrRefused;
  if (!silent) return failure;
  const auto peer = peers_.find(device);
  OpenError said = silence_of(peer != peers_.end() ? &peer->second : nullptr, failure.reason);
  failure.reason = said.reason;
  failure.text = std::move(said.text);
  return failure;
}

void ConnectionManager::attempt_failed(ConnectAttempt& attempt, const AttemptFailure& told) {
  const proto::DeviceId device = attempt.id().peer;
  const AttemptFailure failure = explained(device, told);
  const bool outgoing = attempt.role() == proto::ConnectRole::kCaller;
  spdlog::info("connection={} peer={} failed reason={} text={}", attempt.id().number, device.abbreviated(),
               proto::reason_name(failure.reason), log_quote(failure.text));
  publish_failed(attempt, failure.reason, failure.text);
  drop_attempt(attempt.id().number, failure.reason, failure.text);
  if (!outgoing) return forget_peer_if_unused(device);
  peers_[device].dialling = 0;
  if (!failure.worth_retrying) return fail_waiting(device, failure);
  // Opens whose time is over at this very moment hear why, too; the others have some left for a fresh attempt.
  for (const OpenNumber number : std::set<OpenNumber>(peers_[device].waiting)) {
    const auto open = opens_.find(number);
    if (open == opens_.end() || open->second.deadline > context_.connections.loop.now()) continue;
    peers_[device].waiting.erase(number);
    candidate_failed(number, device, failure);
  }
  Peer& peer = peers_[device];
  if (peer.waiting.empty()) return fail_waiting(device, failure);
  ++peer.failures;
  peer.last_failure = failure;
  if (peer.failures == 1) return dial(device);
  const unsigned doublings = std::min(peer.failures - 2, kMaxBackoffDoublings);
  peer.retry_at = context_.connections.loop.now() + kFirstBackoff * (1u << doublings);
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
  ++past_.connections_failed;
}

/// Of an attempt that nobody needs any more. Who was told that it began is told that it is over.
void ConnectionManager::abandon_attempt(ConnectionNumber number, proto::Reason reason) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  publish_failed(*it->second, reason, {});
  drop_attempt(number, reason, {});
}

/// A peer that has come through TLS is told why there will be no connection.
void ConnectionManager::drop_attempt(ConnectionNumber number, proto::Reason reason, std::string_view text) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) return;
  it->second->abandon();
  if (auto socket = it->second->take_socket(); socket && socket->can_say_why() && leaving_.size() < kMaxLeaving) {
    socket->close_drained(reason, text);
    leaving_.emplace(number, std::move(socket));
  } else if (socket) {
    dead_sockets_.push_back(std::move(socket));
  }
  dead_attempts_.push_back(std::move(it->second));
  attempts_.erase(it);
  targets_.erase(number);
  unknown_setups_.erase(number);
  soon();
}

void ConnectionManager::attempt_done(ConnectAttempt& attempt) {
  if (chains_.taken_back(*attempt.socket()->peer_chain())) {
    return attempt_failed(attempt, {proto::Reason::kBadCertificate, std::string(kTakenBack), false});
  }
  const proto::DeviceId device = attempt.id().peer;
  const ConnectionNumber number = attempt.id().number;
  const proto::TimePoint now = context_.connections.loop.now();
  Connection connection;
  connection.socket = attempt.take_socket();
  connection.role = attempt.role();
  connection.since = connection.idle_since = now;
  const proto::CertificateChain& chain = *connection.socket->peer_chain();
  connection.account = chain.account_id();
  const auto dates = chain.validity();  // TLS has read them
  connection.valid_until_unix = dates ? dates->until_unix : 0;
  connection.trust = context_.stores.trust.of(chain);
  connection.scope = context_.stores.trust.scope_of(chain);
  const Trust trust = connection.trust;
  if (const auto stored = chains_.met(chain); !stored) {
    spdlog::warn("certificate of {} not stored: {}", device.abbreviated(), stored.failure().text);
  }
  MultiplexedSocket& socket = *connection.socket;
  const auto elapsed = now - attempt.started();
  spdlog::info("connection={} peer={} up after_ms={} role={} local={} remote={} trust={}", number, device.abbreviated(),
               elapsed.count(), connection.role == proto::ConnectRole::kCaller ? "caller" : "callee",
               socket.link().path().local, socket.link().path().remote, name_of(trust));
  Peer& peer = peers_[device];
  json event = {{"connection", number},
                {"peer", device.hex()},
                {"account", connection.account.hex()},
                {"direction", connection.role == proto::ConnectRole::kCaller ? "outgoing" : "incoming"},
                {"after_ms", elapsed.count()}};
  if (!peer.met) event["certificate"] = chain.pem();
  peer.met = true;
  pair_keys_.met(socket.link(), trust, connection.role == proto::ConnectRole::kCaller);
  connections_.emplace(number, std::move(connection));
  heap_trim_.begun();
  peer.connections.push_back(number);
  start_ticking();
  peer.failures = 0;
  knocks_.forget([&](const proto::DeviceId& who) { return who == device; });
  if (peer.dialling == number) peer.dialling = 0;
  drop_attempt(number, proto::Reason::kClosed, {});
  context_.events.publish("connection.connected", event);
  if (trust == Trust::kBanned) {
    socket.close_now(proto::Reason::kBanned, "this device has banned the peer");
    return fail_waiting(device, {proto::Reason::kBanned, "this device has banned the peer's account or CA", false});
  }
  if (trust == Trust::kAllowed) {
    revocations_.met(chain);
    if (const auto former = chains_.former_chain(chain)) revocations_.met(*former);
  }
  place_waiting(device);
  // Both sides prefer the connection that the lower id asked for. If that is the peer's, ours is not needed; the other
  // way round it is kept, so that two attempts that cross never end each other.
  if (device < own_ && connections_.at(number).role == proto::ConnectRole::kCallee) give_up_dialling(device);
}

// ---- requests and answers from the DHT ----

void ConnectionManager::on_signal(const SignalMessage& message) {
  if (shutting_down()) return;
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
  request->is_answer ? on_answer(message, *request) : on_request(message, std::move(*request));
}

void ConnectionManager::on_answer(const SignalMessage& message, const proto::ConnectionRequest& answer) {
  // An answer counts only from the device that was asked, for the request that is under way (A9).
  const auto peer = peers_.find(message.signer);
  if (peer == peers_.end()) return;
  const auto it = attempts_.find(peer->second.dialling);
  if (it == attempts_.end() || it->second->id().request_id != answer.id) return;
  if (it->second->state() != proto::ConnectState::kOffered) return;
  auto remote = proto::IceDescription::parse(answer.ice_text);
  if (!remote) return it->second->reject(proto::Reason::kProtocolError, remote.error().message());
  it->second->on_answer(*remote, kind_of(answer, settings_));
}

void ConnectionManager::on_request(const SignalMessage& message, proto::ConnectionRequest request) {
  const proto::DeviceId device = message.signer;
  const proto::ShortDeviceId short_id = proto::short_device_id_of(message.signer_public_key);
  const Trust trust = context_.stores.trust.of(device, {}, short_id);
  if (trust == Trust::kBanned) return refused(device, proto::Reason::kBanned, "the device is banned");
  // Who is allowed by its account is remembered over a restart too, once its chain is known.
  const bool allowed = chains_.trust_of(device) == Trust::kAllowed;
  if (!context_.stores.requests.first_seen(device, request.id, allowed)) {
    // It comes once per key, and again when the caller thinks that it or the answer was lost.
    if (ConnectAttempt* attempt = callee_attempt(device, request.id)) return repeat_answer(*attempt, message);
    if (!waits_for_room(device, request.id)) return;
  }
  request_saver_.on_change();
  const proto::ByteVector chain = std::exchange(request.chain, {});
  gate_.judge(device, short_id, chain,
              [this, message, request = std::move(request)](const RequestGate::Verdict& verdict) {
                if (verdict.reason == proto::Reason::kBusy) return turn_away(message.signer, request.id, verdict.text);
                if (!verdict.accept) return refused(message.signer, verdict.reason, verdict.text);
                if (verdict.trust == Trust::kAllowed) {
                  (void)context_.stores.requests.first_seen(message.signer, request.id, true);
                  request_saver_.on_change();
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
  const auto peer = peers_.find(device);
  if (peer != peers_.end() && peer->second.connections.size() >= kMaxConnectionsPerPeer) {
    return turn_away(device, request.id, "the peer has too many connections");
  }
  if (!room_for_setup(trust)) return turn_away(device, request.id, "too many connections are being set up");

  const AttemptId id{context_.connections.handles.connections.take(), request.id, device};
  targets_[id.number].to = to_answer(message);
  if (trust != Trust::kAllowed) unknown_setups_.insert(id.number);
  ConnectAttempt::Owner& owner = *this;
  launch(std::make_unique<ConnectAttempt>(attempts_context_, owner, id, settings_.times, std::move(*remote),
                                          kind_of(request, settings_)));
}

/// By the key by which the message came.
SignalTarget ConnectionManager::to_answer(const SignalMessage& message) {
  SignalTarget to{message.signer_public_key, message.at_short_key ? SignalKeys::kShort : SignalKeys::kLong};
  if (message.at_pair_key) to.pair_keys = pair_keys_.to(message.signer);
  if (!to.pair_keys.empty()) to.keys = SignalKeys::kNone;
  return to;
}

/// A caller that was asked by a pair key, and asks by the others now, may not have heard the answer there.
void ConnectionManager::repeat_answer(ConnectAttempt& attempt, const SignalMessage& message) {
  SignalTarget& to = targets_[attempt.id().number].to;
  if (to.keys == SignalKeys::kNone && !message.at_pair_key) to.keys = to_answer(message).keys;
  attempt.repeat_answer();
}

/// A refusal that is over when there is room: what the caller sends again is judged anew.
void ConnectionManager::turn_away(const proto::DeviceId& device, std::uint64_t request, std::string_view text) {
  const proto::TimePoint now = context_.connections.loop.now();
  std::erase_if(turned_away_, [now](const auto& entry) { return now - entry.second > kTurnedAwayTime; });
  if (turned_away_.size() >= kMaxTurnedAway) {
    const auto any = std::uniform_int_distribution<std::size_t>(0, turned_away_.size() - 1)(random_);
    turned_away_.erase(std::next(turned_away_.begin(), static_cast<std::ptrdiff_t>(any)));
  }
  turned_away_[{device, request}] = now;
  refused(device, proto::Reason::kBusy, text);
}

/// A moment later only, for a request comes once a key.
bool ConnectionManager::waits_for_room(const proto::DeviceId& device, std::uint64_t request) {
  const auto it = turned_away_.find({device, request});
  if (it == turned_away_.end()) return false;
  const proto::Duration since = context_.connections.loop.now() - it->second;
  if (since < kTurnedAwayPause) return false;
  turned_away_.erase(it);
  return since <= kTurnedAwayTime;
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
  // The whole id: it is what `trust allow` takes.
  if (const auto line = refusal_log_.refused(device, reason, context_.connections.loop.now())) {
    spdlog::info("peer={} connection request refused reason={} text={} more={} others={}", device.hex(),
                 proto::reason_name(reason), log_quote(text), line->more, line->others);
  }
  knocks_.refused(device, reason, context_.connections.loop.now());
  ++past_.requests_refused;
  context_.events.publish(
      "request.refused",
      {{"peer", device.hex()}, {"reason", std::string(proto::reason_name(reason))}, {"detail", std::string(text)}});
}

}  // namespace connd::daemon
