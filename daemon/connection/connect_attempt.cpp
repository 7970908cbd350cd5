// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connect_attempt.h"

#include <ctime>
#include <utility>

#include "daemon/link/tls_link.h"

namespace connd::daemon {

using proto::ConnectAction;
using proto::ConnectEvent;
using proto::ConnectRole;

ConnectAttempt::ConnectAttempt(const Context& context, Owner& owner, const AttemptId& id,
                               const proto::ConnectTimes& times)
    : context_(context),
      owner_(owner),
      id_(id),
      started_(context.connections.loop.now()),
      machine_(ConnectRole::kCaller, times, started_),
      timer_(context.connections.loop, [this] { feed(ConnectEvent::kTimer); }) {}

ConnectAttempt::ConnectAttempt(const Context& context, Owner& owner, const AttemptId& id,
                               const proto::ConnectTimes& times, proto::IceDescription remote, PeerKind kind)
    : context_(context),
      owner_(owner),
      id_(id),
      started_(context.connections.loop.now()),
      machine_(ConnectRole::kCallee, times, started_),
      remote_(std::move(remote)),
      kind_(kind),
      timer_(context.connections.loop, [this] { feed(ConnectEvent::kTimer); }) {
  if (kind == PeerKind::kJami) machine_.be_patient();
}

void ConnectAttempt::start() {
  feed(ConnectEvent::kStart);
}

void ConnectAttempt::on_certificate(bool found, bool by_pair) {
  if (by_pair) machine_.ask_by_pair_first();
  feed(found ? ConnectEvent::kCertificate : ConnectEvent::kNoCertificate);
}

void ConnectAttempt::on_answer(const proto::IceDescription& remote, PeerKind kind) {
  if (state() != proto::ConnectState::kOffered) return;
  remote_ = remote;
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
  timer_.arm(proto::kNever);
}

void ConnectAttempt::repeat_answer() {
  const bool answered = role() == ConnectRole::kCallee && state() == proto::ConnectState::kChecking;
  if (answered) owner_.attempt_signals(*this, local_text_, true);
}

void ConnectAttempt::socket_up() {
  feed(ConnectEvent::kUp);
}

void ConnectAttempt::socket_down(proto::Reason reason, const std::string& text) {
  // A peer that closes cleanly before it is up has still not connected.
  const bool clean = proto::reason_info(reason).exit_code == 0;
  failure_reason_ = clean ? proto::Reason::kConnectionLost : reason;
  failure_text_ = text;
  const bool final = reason == proto::Reason::kBadCertificate || reason == proto::Reason::kBanned;
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
  IceConfig config = context_.ice;
  config.controlling = role() == ConnectRole::kCallee;
  config.patient = id_.request_id % 2 != 0;  // PROTOCOL.md, section 4: both sides know it
  IceCallbacks callbacks;
  callbacks.on_gathered = [this](const proto::IceDescription& local) {
    local_text_ = local.to_text();
    feed(ConnectEvent::kGathered);
  };
  callbacks.on_path = [this](IcePath path) {
    path_ = std::move(path);
    feed(ConnectEvent::kPath);
  };
  callbacks.on_failed = [this](std::string why) {
    failure_text_ = std::move(why);
    feed(ConnectEvent::kBroken);
  };
  agent_ =
      std::make_unique<IceAgent>(context_.connections.loop, context_.bridge, std::move(config), std::move(callbacks));
  agent_->gather();
}

void ConnectAttempt::start_checks() {
  agent_->set_remote(*remote_, kind_ == PeerKind::kNative);
}

void ConnectAttempt::start_tls() {
  proto::TlsPeer peer;
  peer.expected = id_.peer;
  peer.native_offered = context_.native;
  peer.native_demanded = kind_ == PeerKind::kNative;
  peer.now_unix = static_cast<std::int64_t>(std::time(nullptr));
  peer.is_revoked = context_.stores.is_revoked();
  auto link = std::make_unique<TlsLink>(context_.connections.poller, context_.connections.scratch, context_.tls, peer,
                                        std::move(*path_));
  socket_ = std::make_unique<MultiplexedSocket>(context_.connections, context_.socket_owner, id_.number,
                                                std::move(link), context_.mux);
  path_.reset();
  agent_.reset();
  socket_->start();
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
