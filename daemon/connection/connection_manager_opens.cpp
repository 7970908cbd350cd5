// SPDX-License-Identifier: GPL-3.0-or-later
// The way of an open: it waits for a connection, then for the peer's answer; a connection that dies under it is dialled
// once more.
#include <algorithm>

#include "daemon/connection/connection_manager.h"
#include "proto/error.h"
#include "proto/utf8.h"

namespace connd::daemon {
namespace {
/// One local user may have tens of thousands of opens that end, or go on, at the same moment: so many do in one turn.
constexpr std::size_t kOpensPerTurn = 32;
constexpr proto::Duration kOpensPause = std::chrono::milliseconds(1);

/// " (last connected 3 min ago)", where that is known.
std::string last_connected(const std::optional<proto::TimePoint>& when, proto::TimePoint now) {
  if (!when) return {};
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(now - *when).count();
  const std::string age = minutes < 1    ? "less than a minute"
                          : minutes < 60 ? std::to_string(minutes) + " min"
                                         : std::to_string(minutes / 60) + " h";
  return " (last connected " + age + " ago)";
}
}  // namespace

std::variant<OpenNumber, OpenError> ConnectionManager::open(OpenRequest request, std::function<void(OpenResult)> done) {
  using proto::Reason;
  if (shutting_down()) return OpenError{Reason::kShuttingDown, "this device's jami-connd is shutting down"};
  if (request.peer == own_) return OpenError{Reason::kInvalidArgument, "that is the id of this device itself"};
  if (request.uri.size() > proto::kMaxName || !proto::is_utf8(request.uri)) {
    return OpenError{Reason::kBadName, std::string(proto::reason_info(Reason::kBadName).text)};
  }
  const bool banned = chains_.trust_of(request.peer) == Trust::kBanned ||
                      (request.account && context_.stores.trust.of({}, {&*request.account, 1}) == Trust::kBanned);
  if (banned) return OpenError{Reason::kBanned, "this device has banned the peer"};
  if (opens_.size() >= settings_.limits.max_pending_opens) {
    return OpenError{Reason::kResourceLimit, "too many opens are pending"};
  }
  if (open_name_bytes_ + request.uri.size() > settings_.limits.max_open_name_bytes) {
    return OpenError{Reason::kResourceLimit, "the names of pending opens are too long"};
  }
  if (channels_.size() + opens_.size() >= settings_.limits.max_channels) {
    return OpenError{Reason::kResourceLimit, "this device's jami-connd has as many channels as it can"};
  }
  const OpenNumber number = next_open_++;
  PendingOpen open;
  open.deadline = context_.connections.loop.now() + request.timeout;
  open.request = std::move(request);
  open.name_bytes = open.request.uri.size();
  open_name_bytes_ += open.name_bytes;
  open.done = std::move(done);
  deadlines_.emplace(open.deadline, number);
  opens_.emplace(number, std::move(open));
  heap_trim_.begun();
  deadline_.arm(deadlines_.begin()->first);
  opens_.at(number).request.account ? search_devices(number) : place(number);
  return number;
}

/// Asks for the channel on a connection that is there, or waits for one.
void ConnectionManager::place(OpenNumber number) {
  const auto it = opens_.find(number);
  if (it == opens_.end()) return;  // it has its answer already
  PendingOpen& open = it->second;
  MultiplexedSocket* socket = nullptr;
  if (open.request.unique) socket = unique_channel(open.request.peer, open.request.uri, nullptr).socket;
  if (socket == nullptr) socket = usable(open.request.peer);
  if (socket == nullptr) return wait_for_connection(number);
  if (open.request.account && !is_of(*socket, *open.request.account)) {
    return fail_later(number, OpenError{proto::Reason::kBadCertificate, "the device is not one of that account"});
  }
  const auto opened = socket->open(open.request.uri, open.request.unique);
  if (!opened) {
    if (opened.error() == proto::Errc::kGoingAway) return wait_for_connection(number);
    return fail_later(number, OpenError{proto::reason_of(opened.error()), opened.error().message()});
  }
  leave_connection(number, open);
  if (held_.count(opened->channel) > 0) {
    takers_.push_back(number);
    return soon();
  }
  open.connection = socket->number();
  open.channel = opened->channel;
  connections_.at(open.connection).opens.insert(number);
  const auto same = opening_.find(opened->channel);
  if (opened->joined && same == opening_.end()) {
    // The channel is open already, and somebody has its fd.
    return fail_later(number, OpenedChannel{opened->channel, socket->peer(), connections_.at(socket->number()).account,
                                            open.request.uri, ipc::Fd(), true, socket->rules().half_close});
  }
  opening_[opened->channel].push_back(number);
}

void ConnectionManager::wait_for_connection(OpenNumber number) {
  PendingOpen& open = opens_.at(number);
  leave_connection(number, open);
  wait_for(number, open.request.peer);
}

void ConnectionManager::leave_connection(OpenNumber number, PendingOpen& open) {
  if (const auto it = connections_.find(open.connection); it != connections_.end()) it->second.opens.erase(number);
  open.connection = 0;
  open.channel = 0;
}

void ConnectionManager::wait_for(OpenNumber number, const proto::DeviceId& device) {
  const auto known = peers_.find(device);
  const bool under_way =
      known != peers_.end() && (known->second.dialling != 0 || known->second.retry_at != proto::kNever);
  if (!under_way && connections_.size() + attempts_.size() >= settings_.limits.max_connections) {
    const OpenError error{proto::Reason::kResourceLimit, "this device's jami-connd has as many connections as it can"};
    if (opens_.at(number).candidates.contains(device)) {
      return candidate_failed(number, device, {error.reason, error.text, false});
    }
    return fail_later(number, error);
  }
  peers_[device].waiting.insert(number);
  if (!under_way) dial(device);
}

void ConnectionManager::place_waiting(const proto::DeviceId& device) {
  go_on({std::exchange(peers_[device].waiting, {}), [this, device](OpenNumber number) {
           settle_on(number, device);
           place(number);
         }});
}

/// Some at once, the rest in later turns.
void ConnectionManager::go_on(Released released) {
  std::size_t left = released_.empty() ? kOpensPerTurn : 0;
  for (; left > 0 && !released.opens.empty(); --left) released.step(released.take());
  if (released.opens.empty()) return;
  released_.push_back(std::move(released));
  soon();
}

/// Opens that were too many for one turn, or were to get their answer in a later one.
void ConnectionManager::run_opens() {
  for (std::size_t i = 0; i < kOpensPerTurn && !failed_opens_.empty(); ++i) {
    auto [number, result] = std::move(failed_opens_.front());
    failed_opens_.pop_front();
    complete(number, std::move(result));
  }
  for (std::size_t i = 0; i < kOpensPerTurn && !released_.empty(); ++i) {
    Released& released = released_.front();
    if (const OpenNumber number = released.take(); opens_.contains(number)) released.step(number);
    if (released.opens.empty()) released_.pop_front();
  }
  if (!failed_opens_.empty() || !released_.empty()) soon_.arm_in(kOpensPause);
}

void ConnectionManager::on_open_answered(MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason,
                                         const std::string& text) {
  const auto it = opening_.find(channel);
  if (it == opening_.end()) return;
  const std::vector<OpenNumber> numbers = std::move(it->second);
  opening_.erase(it);
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

void ConnectionManager::accepted(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel,
                                 MultiplexedSocket& socket) {
  const auto opener = opens_.find(numbers.front());
  if (opener == opens_.end()) return socket.cancel(channel, proto::Reason::kCancelled);
  deliver(numbers, channel, socket, socket.attach(channel, opener->second.request.options));
}

/// The answer of opens that one channel resolves: the first gets its fd.
void ConnectionManager::deliver(const std::vector<OpenNumber>& numbers, proto::ChannelHandle channel,
                                MultiplexedSocket& socket, proto::Result<ipc::Fd> fd) {
  if (!fd) {
    const OpenError error{proto::Reason::kResourceLimit,
                          "this device's jami-connd has no file descriptor free: " + fd.error().message()};
    for (const OpenNumber number : numbers) complete(number, error);
    return;
  }
  const proto::AccountId account = connections_.at(socket.number()).account;
  const std::string uri = opens_.at(numbers.front()).request.uri;
  channels_.emplace(channel, ChannelRecord{socket.number(), socket.peer(), account, uri, true, true,
                                           context_.connections.loop.now()});
  heap_trim_.begun();
  for (const OpenNumber number : numbers) {
    const bool gets_fd = number == numbers.front();
    complete(number, OpenedChannel{channel, socket.peer(), account, uri, gets_fd ? std::move(*fd) : ipc::Fd(), !gets_fd,
                                   socket.rules().half_close});
  }
}

void ConnectionManager::complete(OpenNumber number, OpenResult result) {
  const auto it = opens_.find(number);
  if (it == opens_.end()) return;
  PendingOpen open = std::move(it->second);
  opens_.erase(it);
  open_name_bytes_ -= open.name_bytes;
  if (const auto opening = opening_.find(open.channel); opening != opening_.end()) {
    auto& numbers = opening->second;
    numbers.erase(std::remove(numbers.begin(), numbers.end(), number), numbers.end());
    if (numbers.empty()) opening_.erase(opening);
  }
  deadlines_.erase({open.deadline, number});
  deadline_.arm(deadlines_.empty() ? proto::kNever : deadlines_.begin()->first);
  leave_peers(number, open);
  leave_connection(number, open);
  if (!held_.empty()) soon();
  open.done(std::move(result));
}

/// Completes an open in a later turn: open() has not returned its number yet.
void ConnectionManager::fail_later(OpenNumber number, OpenResult result) {
  failed_opens_.emplace_back(number, std::move(result));
  soon();
}

bool ConnectionManager::cancel_open(OpenNumber number, proto::Reason reason) {
  return end_open(number, {reason, std::string(proto::reason_info(reason).text)});
}

bool ConnectionManager::end_open(OpenNumber number, OpenError error) {
  const auto it = opens_.find(number);
  if (it == opens_.end()) return false;
  const PendingOpen& open = it->second;
  const auto opening = opening_.find(open.channel);
  if (opening != opening_.end()) {
    auto& numbers = opening->second;
    numbers.erase(std::remove(numbers.begin(), numbers.end(), number), numbers.end());
    if (numbers.empty()) {
      opening_.erase(opening);
      const auto connection = connections_.find(open.connection);
      if (connection != connections_.end()) connection->second.socket->cancel(open.channel, error.reason);
    }
  }
  std::set<proto::DeviceId> devices = open.candidates;
  devices.insert(open.request.peer);
  complete(number, std::move(error));
  for (const proto::DeviceId& device : devices) give_up_dialling(device);
  return true;
}

/// Nobody waits for this peer any more: the attempt that was made for them ends.
void ConnectionManager::give_up_dialling(const proto::DeviceId& device) {
  const auto it = peers_.find(device);
  if (it == peers_.end() || !it->second.waiting.empty()) return;
  it->second.retry_at = proto::kNever;
  if (const ConnectionNumber dialling = std::exchange(it->second.dialling, 0)) {
    abandon_attempt(dialling, proto::Reason::kCancelled);
  }
  forget_peer_if_unused(device);
}

void ConnectionManager::fail_waiting(const proto::DeviceId& device, const AttemptFailure& failure) {
  Peer& peer = peers_[device];
  peer.retry_at = proto::kNever;
  peer.failures = 0;
  go_on({std::exchange(peer.waiting, {}),
         [this, device, failure](OpenNumber number) { candidate_failed(number, device, failure); }});
  forget_peer_if_unused(device);
}

/// A peer that refuses a unique channel as a duplicate knows one that we may not know any more: its end came to us
/// first, by another connection. Asked once more, it knows. Or there is one by now, which the open joins.
bool ConnectionManager::ask_again(OpenNumber number, proto::Reason reason) {
  const auto it = opens_.find(number);
  if (it == opens_.end() || reason != proto::Reason::kDuplicate || !it->second.request.unique) return false;
  if (std::exchange(it->second.asked_again, true)) return false;
  place(number);
  return true;
}

void ConnectionManager::redial_or_fail(OpenNumber number, proto::Reason reason, const std::string& text) {
  const auto it = opens_.find(number);
  if (it == opens_.end()) return;
  PendingOpen& open = it->second;
  opening_.erase(open.channel);
  const bool again = !open.redialled && reason != proto::Reason::kBanned && !shutting_down();
  if (!again) {
    const bool clean = proto::reason_info(reason).exit_code == 0;
    return complete(number, OpenError{clean ? proto::Reason::kConnectionLost : reason, text});
  }
  open.redialled = true;
  ++past_.opens_redialled;
  place(number);
}

void ConnectionManager::expire_opens() {
  const proto::TimePoint now = context_.connections.loop.now();
  std::size_t left = kOpensPerTurn;
  for (; left > 0 && !deadlines_.empty() && deadlines_.begin()->first <= now; --left) {
    const OpenNumber number = deadlines_.begin()->second;
    (void)end_open(number, timed_out(opens_.at(number)));
  }
  if (left == 0) return deadline_.arm(now + kOpensPause);
  deadline_.arm(deadlines_.empty() ? proto::kNever : deadlines_.begin()->first);
}

/// Nobody is found, and nobody answers, while we have no network ourselves: that says nothing of the peer.
proto::Reason ConnectionManager::whose_fault(proto::Reason reason) const {
  const bool peers = reason == proto::Reason::kNotFound || reason == proto::Reason::kNoAnswerOrRefused;
  return peers && !context_.signalling.online() ? proto::Reason::kNoNetwork : reason;
}

/// A device that is not found, or does not answer: what this device knows of it, from what the call itself has seen.
OpenError ConnectionManager::silence_of(const Peer* peer, proto::Reason reason) const {
  if (whose_fault(reason) != reason) {
    const proto::Reason ours = whose_fault(reason);
    return {ours, std::string(proto::reason_info(ours).text)};
  }
  if (reason == proto::Reason::kNotFound) {
    return {proto::Reason::kNotFound,
            "no certificate of that device is on the DHT: it has not been online for a while, or the id is wrong"};
  }
  switch (peer != nullptr ? peer->known_by : KnownBy::kNothing) {
    case KnownBy::kStore:
      return {proto::Reason::kNoAnswerOrRefused, "nothing came back; this device has met it before" +
                                                     last_connected(peer->last_up, context_.connections.loop.now()) +
                                                     ", and does not know whether it is online now"};
    case KnownBy::kCertificate:
      return {
          proto::Reason::kNoAnswerOrRefused,
          "nothing came back, though its certificate is on the DHT, where it stays a while after a device has gone"};
    case KnownBy::kAnnouncement:
      return {proto::Reason::kNoAnswerOrRefused,
              "nothing came back, though it is announced on the DHT, as it is for a while after it has gone"};
    case KnownBy::kNothing:
      break;
  }
  return {reason, std::string(proto::reason_info(reason).text)};
}

/// Of an open to an account the device whose attempts have told most.
const ConnectionManager::Peer* ConnectionManager::awaited_peer(const PendingOpen& open) const {
  const Peer* found = nullptr;
  std::set<proto::DeviceId> devices = open.candidates;
  if (devices.empty()) devices.insert(open.request.peer);
  for (const proto::DeviceId& device : devices) {
    const auto peer = peers_.find(device);
    if (peer == peers_.end()) continue;
    if (found == nullptr || (found->failures == 0 && peer->second.failures > 0)) found = &peer->second;
  }
  return found;
}

/// A deadline says more when it tells what was being waited for, or what became of the attempt before.
OpenError ConnectionManager::timed_out(const PendingOpen& open) const {
  using proto::Reason;
  if (open.connection != 0) {
    return {Reason::kTimedOut, "the peer is connected, and has not said whether it takes the channel"};
  }
  if (open.request.account && open.searching && open.candidates.empty()) {
    return open.failure ? *open.failure : nothing_found();
  }
  const Peer* peer = awaited_peer(open);
  if (peer != nullptr && peer->failures > 0) return {peer->last_failure.reason, peer->last_failure.text};
  const auto attempt = peer != nullptr ? attempts_.find(peer->dialling) : attempts_.end();
  switch (attempt != attempts_.end() ? attempt->second->state() : proto::ConnectState::kIdle) {
    case proto::ConnectState::kResolving:
      return silence_of(peer, Reason::kNotFound);
    case proto::ConnectState::kOffered:
      return silence_of(peer, Reason::kNoAnswerOrRefused);
    case proto::ConnectState::kGathering:
      return {Reason::kTimedOut, "this device was still collecting its own addresses"};
    case proto::ConnectState::kChecking:
      return {Reason::kTimedOut, "the peer has answered, and no network path to it was found by then"};
    case proto::ConnectState::kHandshaking:
      return {Reason::kTimedOut, "a network path to the peer was found, and TLS was not done by then"};
    default:
      return {Reason::kTimedOut, std::string(proto::reason_info(Reason::kTimedOut).text)};
  }
}

}  // namespace connd::daemon
