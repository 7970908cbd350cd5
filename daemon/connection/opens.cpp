// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/opens.h"

#include <algorithm>

#include "proto/error.h"
#include "proto/utf8.h"

namespace connd::daemon {

Opens::Opens(const ManagerContext& context, const ManagerSettings& settings, const proto::DeviceId& own,
             KnownChains& chains, PeerConnections& connections, ChannelTable& channels, Connector& connector,
             HeldRequests& held)
    : context_(context),
      settings_(settings),
      own_(own),
      chains_(chains),
      connections_(connections),
      channels_(channels),
      connector_(connector),
      held_(held),
      paced_(context.connections.loop,
             [this](OpenNumber number, OpenResult result) { complete(number, std::move(result)); }),
      deadline_(context.connections.loop, [this] { expire(); }) {}

// ---- beginning ----

std::variant<OpenNumber, OpenError> Opens::open(OpenRequest request, std::function<void(OpenResult)> done) {
  if (auto error = refusal(request)) return std::move(*error);
  const OpenNumber number = next_++;
  Pending& open = opens_[number];
  open.deadline = context_.connections.loop.now() + request.timeout;
  open.request = std::move(request);
  open.done = std::move(done);
  name_bytes_ += open.request.uri.size();
  deadlines_.emplace(open.deadline, number);
  arm();
  beginning_ = number;
  open.request.account ? search_devices(number, open) : place(number);
  beginning_ = 0;
  return number;
}

std::optional<OpenError> Opens::refusal(const OpenRequest& request) const {
  using proto::Reason;
  const ManagerLimits& limits = settings_.limits;
  if (stopped_) return OpenError{Reason::kShuttingDown, "this device's jami-connd is shutting down"};
  if (request.peer == own_) return OpenError{Reason::kInvalidArgument, "that is the id of this device itself"};
  if (request.uri.size() > proto::kMaxName || !proto::is_utf8(request.uri)) {
    return OpenError{Reason::kBadName, std::string(proto::reason_info(Reason::kBadName).text)};
  }
  const bool banned = chains_.trust_of(request.peer) == Trust::kBanned ||
                      (request.account && context_.stores.trust.of({}, {&*request.account, 1}) == Trust::kBanned);
  if (banned) return OpenError{Reason::kBanned, "this device has banned the peer"};
  if (opens_.size() >= limits.max_pending_opens) {
    return OpenError{Reason::kResourceLimit, "too many opens are pending"};
  }
  if (channels_.name_bytes() + name_bytes_ + request.uri.size() > limits.max_name_bytes) {
    return OpenError{Reason::kResourceLimit, "the names of channels and pending opens are too long"};
  }
  if (channels_.size() + opens_.size() >= limits.max_channels) {
    return OpenError{Reason::kResourceLimit, "this device's jami-connd has as many channels as it can"};
  }
  return std::nullopt;
}

Opens::Pending* Opens::find(OpenNumber number) {
  const auto it = opens_.find(number);
  return it == opens_.end() ? nullptr : &it->second;
}

/// Asks for the channel on a connection that is there, or waits for one.
void Opens::place(OpenNumber number) {
  Pending* open = find(number);
  if (open == nullptr) return;  // it has its answer already
  const OpenRequest& request = open->request;
  MultiplexedSocket* socket = nullptr;
  if (request.unique) socket = unique_channel(request.peer, request.uri, nullptr).socket;
  if (socket == nullptr) socket = connections_.usable(request.peer);
  if (socket == nullptr) return wait_for_connection(number, *open);
  if (request.account && !connections_.is_of(*socket, *request.account)) {
    const OpenError error{proto::Reason::kBadCertificate, "the device is not one of that account"};
    return paced_.complete_later(number, error);
  }
  const auto opened = socket->open(request.uri, request.unique);
  if (!opened) {
    if (opened.error() == proto::Errc::kGoingAway) return wait_for_connection(number, *open);
    return paced_.complete_later(number, OpenError{proto::reason_of(opened.error()), opened.error().message()});
  }
  leave_connection(number, *open);
  if (held_.contains(opened->channel)) return held_.wanted_by(number);
  open->connection = socket->number();
  open->channel = opened->channel;
  asked_[open->connection].insert(number);
  if (opened->joined && !resolves_.contains(opened->channel)) {
    // The channel is open already, and somebody has its fd.
    const proto::AccountId account = connections_.at(socket->number()).account;
    return paced_.complete_later(number, OpenedChannel{opened->channel, socket->peer(), account, request.uri, ipc::Fd(),
                                                       true, socket->rules().half_close});
  }
  resolves_[opened->channel].push_back(number);
}

// ---- waiting for a connection ----

void Opens::wait_for_connection(OpenNumber number, Pending& open) {
  leave_connection(number, open);
  wait_for(number, open.request.peer);
}

void Opens::wait_for(OpenNumber number, const proto::DeviceId& device) {
  if (!connector_.is_calling(device) && !connector_.has_room()) {
    const OpenError error{proto::Reason::kResourceLimit, "this device's jami-connd has as many connections as it can"};
    if (opens_.at(number).candidates.contains(device)) {
      return candidate_failed(number, device, {error.reason, error.text, false});
    }
    return paced_.complete_later(number, error);
  }
  waiting_[device].insert(number);
  connector_.call(device);
}

void Opens::leave_waiting(OpenNumber number, const proto::DeviceId& device) {
  const auto waiting = waiting_.find(device);
  if (waiting == waiting_.end()) return;
  waiting->second.erase(number);
  if (waiting->second.empty()) waiting_.erase(waiting);
}

void Opens::leave_connection(OpenNumber number, Pending& open) {
  if (const auto asked = asked_.find(open.connection); asked != asked_.end()) {
    asked->second.erase(number);
    if (asked->second.empty()) asked_.erase(asked);
  }
  open.connection = 0;
  open.channel = 0;
}

void Opens::give_up_calling(const proto::DeviceId& device) {
  if (!waiting_.contains(device)) connector_.stop_calling(device);
}

void Opens::connected(const proto::DeviceId& device) {
  auto waiting = waiting_.extract(device);
  if (waiting.empty()) return;
  paced_.go_on(std::move(waiting.mapped()), [this, device](OpenNumber number) {
    settle_on(number, device);
    place(number);
  });
}

void Opens::call_failed(const proto::DeviceId& device, const AttemptFailure& failure) {
  auto waiting = waiting_.extract(device);
  if (waiting.empty()) return;
  paced_.go_on(std::move(waiting.mapped()),
               [this, device, failure](OpenNumber number) { candidate_failed(number, device, failure); });
}

bool Opens::call_is_wanted(const proto::DeviceId& device, const AttemptFailure& failure) {
  const proto::TimePoint now = context_.connections.loop.now();
  const auto waiting = waiting_.find(device);
  if (waiting == waiting_.end()) return false;
  std::vector<OpenNumber> late;
  for (const OpenNumber number : waiting->second) {
    const Pending* open = find(number);
    if (open != nullptr && open->deadline <= now) late.push_back(number);
  }
  for (const OpenNumber number : late) {
    leave_waiting(number, device);
    candidate_failed(number, device, failure);
  }
  return waiting_.contains(device);
}

// ---- the peer's answer ----

void Opens::answered(MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason,
                     const std::string& text) {
  const auto resolves = resolves_.extract(channel);
  if (resolves.empty()) return;
  const std::vector<OpenNumber>& numbers = resolves.mapped();
  if (reason == proto::Reason::kClosed) return accepted(numbers, channel, socket);
  for (const OpenNumber number : numbers) {
    // A connection that is about to go refuses what crossed its goaway: that open deserves another connection.
    if (reason == proto::Reason::kShuttingDown) {
      redial_or_fail(number, reason, text);
    } else if (!ask_again(number, reason)) {
      complete(number, OpenError{reason, text});
    }
  }
}

void Opens::accepted(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel, MultiplexedSocket& socket) {
  const Pending* opener = find(numbers.front());
  if (opener == nullptr) return socket.channels().cancel(channel, proto::Reason::kCancelled);
  deliver(numbers, channel, socket, socket.channels().attach(channel, opener->request.options));
}

/// The answer of opens that one channel resolves: the first gets its fd.
void Opens::deliver(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel, MultiplexedSocket& socket,
                    proto::Result<ipc::Fd> fd) {
  if (!fd) {
    const OpenError error{proto::Reason::kResourceLimit,
                          "this device's jami-connd has no file descriptor free: " + fd.error().message()};
    for (const OpenNumber number : numbers) complete(number, error);
    return;
  }
  const proto::AccountId account = connections_.at(socket.number()).account;
  const std::string uri = opens_.at(numbers.front()).request.uri;
  channels_.opened(socket, channel, account, uri);
  for (const OpenNumber number : numbers) {
    const bool gets_fd = number == numbers.front();
    complete(number, OpenedChannel{channel, socket.peer(), account, uri, gets_fd ? std::move(*fd) : ipc::Fd(), !gets_fd,
                                   socket.rules().half_close});
  }
}

/// A peer that refuses a unique channel as a duplicate knows one that we may not know any more: its end came to us
/// first, by another connection. Asked once more, it knows. Or there is one by now, which the open joins.
bool Opens::ask_again(OpenNumber number, proto::Reason reason) {
  Pending* open = find(number);
  if (open == nullptr || reason != proto::Reason::kDuplicate || !open->request.unique) return false;
  if (std::exchange(open->asked_again, true)) return false;
  place(number);
  return true;
}

void Opens::connection_gone(ConnectionNumber connection, proto::Reason reason, const std::string& text) {
  auto asked = asked_.extract(connection);
  if (asked.empty()) return;
  paced_.go_on(std::move(asked.mapped()),
               [this, reason, text](OpenNumber number) { redial_or_fail(number, reason, text); });
}

void Opens::redial_or_fail(OpenNumber number, proto::Reason reason, const std::string& text) {
  Pending* open = find(number);
  if (open == nullptr) return;
  resolves_.erase(open->channel);
  const bool again = !open->redialled && reason != proto::Reason::kBanned && !stopped_;
  if (!again) {
    const bool clean = proto::reason_info(reason).exit_code == 0;
    return complete(number, OpenError{clean ? proto::Reason::kConnectionLost : reason, text});
  }
  open->redialled = true;
  ++redialled_;
  place(number);
}

// ---- ending ----

void Opens::complete(OpenNumber number, OpenResult result) {
  // Who asked does not know the number yet.
  if (number == beginning_) return paced_.complete_later(number, std::move(result));
  auto node = opens_.extract(number);
  if (node.empty()) return;
  Pending& open = node.mapped();
  name_bytes_ -= open.request.uri.size();
  (void)leave_channel(number, open.channel);
  deadlines_.erase({open.deadline, number});
  arm();
  for (const proto::DeviceId& device : open.devices()) leave_waiting(number, device);
  leave_connection(number, open);
  held_.look();
  open.done(std::move(result));
}

bool Opens::leave_channel(OpenNumber number, proto::ChannelHandle channel) {
  const auto resolves = resolves_.find(channel);
  if (resolves == resolves_.end()) return false;
  std::erase(resolves->second, number);
  if (!resolves->second.empty()) return false;
  resolves_.erase(resolves);
  return true;
}

bool Opens::cancel(OpenNumber number, proto::Reason reason) {
  return end(number, {reason, std::string(proto::reason_info(reason).text)});
}

void Opens::cancel_for(const proto::DeviceId& device, proto::Reason reason) {
  std::vector<OpenNumber> numbers;
  for (const auto& [number, open] : opens_) {
    if (open.request.peer == device && open.candidates.empty()) numbers.push_back(number);
  }
  for (const OpenNumber number : numbers) (void)cancel(number, reason);
}

void Opens::stop(proto::Reason reason) {
  stopped_ = true;
  while (!opens_.empty()) (void)cancel(opens_.begin()->first, reason);
}

bool Opens::end(OpenNumber number, OpenError error) {
  const Pending* open = find(number);
  if (open == nullptr) return false;
  if (leave_channel(number, open->channel)) {
    PeerConnection* connection = connections_.find(open->connection);
    if (connection != nullptr) connection->socket->channels().cancel(open->channel, error.reason);
  }
  const std::set<proto::DeviceId> devices = open->devices();
  complete(number, std::move(error));
  for (const proto::DeviceId& device : devices) give_up_calling(device);
  return true;
}

void Opens::arm() {
  deadline_.arm(deadlines_.empty() ? proto::kNever : deadlines_.begin()->first);
}

void Opens::expire() {
  const proto::TimePoint now = context_.connections.loop.now();
  std::size_t left = PacedOpens::kPerTurn;
  for (; left > 0 && !deadlines_.empty() && deadlines_.begin()->first <= now; --left) {
    const OpenNumber number = deadlines_.begin()->second;
    (void)end(number, timed_out(opens_.at(number)));
  }
  if (left == 0) return deadline_.arm(now + PacedOpens::kPause);
  arm();
}

/// A deadline says more when it tells what was being waited for, or what became of the attempt before. Of an open to an
/// account: of the device whose attempts have told most.
OpenError Opens::timed_out(const Pending& open) const {
  using proto::Reason;
  if (open.connection != 0) {
    return {Reason::kTimedOut, "the peer is connected, and has not said whether it takes the channel"};
  }
  if (open.request.account && open.searching && open.candidates.empty()) {
    return open.failure ? *open.failure : nothing_found(context_.signalling.online());
  }
  proto::DeviceId device;
  std::optional<Connector::Call> call;
  for (const proto::DeviceId& one : open.candidates.empty() ? open.devices() : open.candidates) {
    const auto its = connector_.call_of(one);
    if (!its || (call && (call->failures > 0 || its->failures == 0))) continue;
    device = one;
    call = its;
  }
  if (call && call->failures > 0) return {call->last_failure.reason, call->last_failure.text};
  switch (call && call->state ? *call->state : proto::ConnectState::kIdle) {
    case proto::ConnectState::kResolving:
      return connector_.silence_of(device, Reason::kNotFound);
    case proto::ConnectState::kOffered:
      return connector_.silence_of(device, Reason::kNoAnswerOrRefused);
    default:
      return timed_out_in(call && call->state ? *call->state : proto::ConnectState::kIdle);
  }
}

}  // namespace connd::daemon
