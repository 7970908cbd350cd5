// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connect_attempt.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "daemon/ice/offered_addresses.h"
#include "daemon/link/tls_link.h"

namespace connd::daemon {

using proto::ConnectAction;
using proto::ConnectEvent;
using proto::ConnectRole;

namespace {

/// RFC 8445, 5.1.1: by whom the addresses of a path are known.
std::string_view kind_of_path(const IcePath& path) {
  for (const std::string* type : {&path.local_type, &path.remote_type}) {
    if (*type == "relay") return "relayed";
  }
  return path.local_type == "srflx" || path.remote_type == "srflx" ? "mapped" : "host";
}

}  // namespace

ConnectAttempt::ConnectAttempt(const Context& context, Owner& owner, const AttemptId& id,
                               const proto::ConnectTimes& times)
    : context_(context),
      owner_(owner),
      id_(id),
      started_(context.connections.loop.now()),
      machine_(ConnectRole::kCaller, times, started_),
      timer_(context.connections.loop, [this] { feed(ConnectEvent::kTimer); }),
      race_timer_(context.connections.loop, [this] { race_on(); }) {}

ConnectAttempt::ConnectAttempt(const Context& context, Owner& owner, const AttemptId& id,
                               const proto::ConnectTimes& times, proto::IceDescription remote, PeerKind kind)
    : context_(context),
      owner_(owner),
      id_(id),
      started_(context.connections.loop.now()),
      machine_(ConnectRole::kCallee, times, started_),
      remote_(std::move(remote)),
      kind_(kind),
      timer_(context.connections.loop, [this] { feed(ConnectEvent::kTimer); }),
      race_timer_(context.connections.loop, [this] { race_on(); }) {
  if (kind == PeerKind::kJami) machine_.be_patient();
}

void ConnectAttempt::start() {
  feed(ConnectEvent::kStart);
}

void ConnectAttempt::on_certificate(bool found, bool by_pair) {
  if (by_pair) machine_.ask_by_pair_first();
  feed(found ? ConnectEvent::kCertificate : ConnectEvent::kNoCertificate);
}

bool ConnectAttempt::awaits_answer() const {
  if (role() != ConnectRole::kCaller || remote_) return false;
  return state() == proto::ConnectState::kOffered || state() == proto::ConnectState::kHandshaking;
}

void ConnectAttempt::on_answer(const proto::IceDescription& remote, PeerKind kind) {
  if (!awaits_answer()) return;
  remote_ = remote;
  if (state() == proto::ConnectState::kHandshaking) return start_checks();  // the peer was faster by our door
  kind_ = kind;
  if (kind == PeerKind::kJami) machine_.be_patient();
  feed(ConnectEvent::kAnswered);
}

void ConnectAttempt::reject(proto::Reason reason, std::string text) {
  failure_reason_ = reason;
  failure_text_ = std::move(text);
  feed(ConnectEvent::kRejected);
}

void ConnectAttempt::abandon() {
  abandoned_ = true;
  timer_.stop();
  race_timer_.stop();
}

void ConnectAttempt::repeat_answer() {
  const bool answered = role() == ConnectRole::kCallee && state() == proto::ConnectState::kChecking;
  if (answered) owner_.attempt_signals(*this, local_text_, true);
}

void ConnectAttempt::socket_secured(const MultiplexedSocket& socket) {
  // PROTOCOL.md, 5.2: the client decides.
  if (is_racer(socket) && socket.link().client()) take_winner(socket);
}

void ConnectAttempt::socket_up(const MultiplexedSocket& socket) {
  if (!is_racer(socket)) return;
  take_winner(socket);
  feed(ConnectEvent::kUp);
}

bool ConnectAttempt::is_racer(const MultiplexedSocket& socket) const {
  return std::any_of(racers_.begin(), racers_.end(), [&socket](const auto& racer) { return racer.get() == &socket; });
}

/// All other ways and paths end. None of them is on the stack: this comes from inside the winner's own reading.
void ConnectAttempt::take_winner(const MultiplexedSocket& socket) {
  std::erase_if(racers_, [&socket](const auto& racer) { return racer.get() != &socket; });
  paths_.clear();
  race_timer_.stop();
  puncher_.reset();
  agent_.reset();
  mapping_.reset();
}

void ConnectAttempt::socket_down(const MultiplexedSocket& socket, proto::Reason reason, const std::string& text) {
  const auto down =
      std::find_if(racers_.begin(), racers_.end(), [&socket](const auto& racer) { return racer.get() == &socket; });
  if (down == racers_.end()) return;
  const bool final = reason == proto::Reason::kBadCertificate || reason == proto::Reason::kBanned;
  if (!final && (racers_.size() > 1 || !paths_.empty())) {
    std::unique_ptr<MultiplexedSocket> gone = std::move(*down);
    racers_.erase(down);
    owner_.attempt_let_go(std::move(gone));
    return race_on();
  }
  // A peer that closes cleanly before it is up has still not connected.
  const bool clean = proto::reason_info(reason).exit_code == 0;
  failure_reason_ = clean ? proto::Reason::kConnectionLost : reason;
  failure_text_ = text;
  feed(final ? ConnectEvent::kRejected : ConnectEvent::kBroken);
}

/// Every path leads through here; nothing of this object is touched after the action, which may destroy it.
void ConnectAttempt::feed(ConnectEvent event) {
  if (abandoned_) return;
  const proto::ConnectState before = machine_.state();
  const ConnectAction action = machine_.on(event, context_.connections.loop.now());
  timer_.arm(machine_.next_deadline());
  if (machine_.state() != before) owner_.attempt_moved(*this, before);
  perform(action);
}

void ConnectAttempt::perform(ConnectAction action) {
  switch (action) {
    case ConnectAction::kNone:
      return;
    case ConnectAction::kResolve:
      return owner_.attempt_resolves(*this);
    case ConnectAction::kGather:
      return gather();
    case ConnectAction::kSendRequest:
      return owner_.attempt_signals(*this, local_text_, false);
    case ConnectAction::kSendAnswer:
      start_checks();
      return owner_.attempt_signals(*this, local_text_, true);
    case ConnectAction::kStartChecks:
      return start_checks();
    case ConnectAction::kStartTls:
      return start_tls();
    case ConnectAction::kDeliver:
      return owner_.attempt_done(*this);
    case ConnectAction::kFail:
      return fail();
  }
}

void ConnectAttempt::gather() {
  if (context_.doors != nullptr && kind_ == PeerKind::kNative) {
    mapping_.emplace(context_.doors->probe, [this] {
      mapping_known_ = true;
      maybe_gathered();
    });
  }
  IceConfig config = context_.ice;
  config.controlling = role() == ConnectRole::kCallee;
  config.patient = id_.request_id % 2 != 0;  // PROTOCOL.md, section 4: both sides know it
  IceCallbacks callbacks;
  callbacks.on_gathered = [this](const proto::IceDescription& local) {
    local_ = local;
    maybe_gathered();
  };
  callbacks.on_path = [this](IcePath path) {
    path.kind = kind_of_path(path);
    agent_.reset();
    on_path(std::move(path));
  };
  callbacks.on_failed = [this](std::string why) {
    // The other way goes on, or has found something already.
    if (!racers_.empty() || (puncher_ && puncher_->active())) return;
    failure_text_ = std::move(why);
    feed(ConnectEvent::kBroken);
  };
  agent_ =
      std::make_unique<IceAgent>(context_.connections.loop, context_.bridge, std::move(config), std::move(callbacks));
  agent_->gather();
}

/// Once ICE has its candidates, and what there is to know of our door is known, or too late.
void ConnectAttempt::maybe_gathered() {
  if (abandoned_ || !local_ || (mapping_ && !mapping_known_) || !local_text_.empty()) return;
  if (mapping_) {
    OfferedAddresses offered{context_.ice.local_addresses};
    if (offered.local.empty()) offered = offered_addresses({context_.ice.allow_loopback, context_.ice.interfaces});
    // As with ICE: who offers its loopback, for want of another address, may use the peer's.
    const bool loopback = context_.ice.allow_loopback || offered.has_loopback();
    const auto seen_at = context_.ice.public_addresses ? context_.ice.public_addresses() : std::vector<std::string>();
    local_->doors = doors_to_tell(*context_.doors, offered.local, seen_at);
    const PunchConfig config{role() == ConnectRole::kCallee, loopback, id_.request_id, local_->ufrag, local_->pwd};
    puncher_ = std::make_unique<Puncher>(context_.connections.loop, context_.connections.poller, context_.doors->door,
                                         config, [this](PunchedPath punched) { on_punched(std::move(punched)); });
  }
  local_text_ = local_->to_text();
  feed(ConnectEvent::kGathered);
}

void ConnectAttempt::start_checks() {
  if (puncher_ && kind_ == PeerKind::kNative) puncher_->start(*remote_);
  if (agent_) agent_->set_remote(*remote_, kind_ == PeerKind::kNative);
}

void ConnectAttempt::on_punched(PunchedPath punched) {
  IcePath path;
  path.socket = std::move(punched.socket);
  path.controlling = role() == ConnectRole::kCallee;
  path.kind = punched.host ? "host" : "punched";
  path.local = text_of(punched.local);
  path.remote = text_of(punched.remote);
  path.local_ufrag = local_->ufrag;
  path.local_pwd = local_->pwd;
  if (remote_) path.remote_ufrag = remote_->ufrag;
  on_path(std::move(path));
}

void ConnectAttempt::on_path(IcePath path) {
  if (abandoned_ || racers_.size() + paths_.size() >= kMaxRacers) return;
  paths_.push_back(std::move(path));
  if (state() == proto::ConnectState::kOffered) feed(ConnectEvent::kPath);  // who is told misses no state
  feed(ConnectEvent::kPath);
}

/// The server waits on every path for the client's first word; the client begins with one.
void ConnectAttempt::start_tls() {
  if (paths_.empty()) return;
  if (!racers_.empty() && paths_.front().controlling) {
    if (!race_timer_.armed()) race_timer_.arm_in(kRaceDelay);
    return;
  }
  race_on();
}

/// One more path.
void ConnectAttempt::race_on() {
  if (paths_.empty() || abandoned_) return;
  proto::TlsPeer peer;
  peer.expected = id_.peer;
  peer.native_offered = context_.native;
  peer.native_demanded = kind_ == PeerKind::kNative;
  peer.now_unix = static_cast<std::int64_t>(std::time(nullptr));
  peer.is_revoked = context_.stores.is_revoked();
  auto link = std::make_unique<TlsLink>(context_.connections.poller, context_.connections.scratch, context_.tls, peer,
                                        std::move(paths_.front()));
  paths_.pop_front();
  MultiplexedSocket& socket = *racers_.emplace_back(std::make_unique<MultiplexedSocket>(
      context_.connections, context_.socket_owner, id_.number, std::move(link), context_.mux));
  if (!paths_.empty()) race_timer_.arm_in(kRaceDelay);
  socket.start();
}

/// How far it has come.
std::string ConnectAttempt::stage_text(proto::Reason reason) const {
  if (reason == proto::Reason::kIceFailed) {
    if (local_text_.empty()) return "this device's own addresses could not be collected in time";
    return std::string(role() == ConnectRole::kCaller ? "the peer has answered" : "the peer was answered") +
           ", and no address of either side can be reached from the other: both may be behind a NAT or a firewall";
  }
  if (reason == proto::Reason::kTimedOut) return "a network path to the peer was found, and TLS was not done in time";
  return std::string(proto::reason_info(reason).text);
}

void ConnectAttempt::fail() {
  AttemptFailure failure{failure_reason_.value_or(machine_.failure()), failure_text_, machine_.worth_retrying()};
  if (failure.text.empty()) failure.text = stage_text(failure.reason);
  owner_.attempt_failed(*this, failure);
}

}  // namespace connd::daemon
