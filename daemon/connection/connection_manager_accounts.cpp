// SPDX-License-Identifier: GPL-3.0-or-later
// Opens to an account: all its devices are called, and the first that answers gets the channel.
#include "daemon/connection/connection_manager.h"

namespace connd::daemon {

namespace {
/// Devices that one open calls at most: a person has a few, and each costs an attempt.
constexpr std::size_t kMaxCandidates = 16;
}  // namespace

void ConnectionManager::search_devices(OpenNumber number) {
  PendingOpen& open = opens_.at(number);
  const proto::AccountId account = *open.request.account;
  if (const auto connected = connected_device(account, open.request.peer)) {
    open.request.peer = *connected;
    return place(number);
  }
  // Who was met is known by its short id as well, and needs no search: it may not be announced any more.
  if (const auto met = met_device(account, open.request.peer)) {
    if (chains_.trust_of(*met) == Trust::kBanned) {
      return fail_later(number, OpenError{proto::Reason::kBanned, "this device has banned the peer"});
    }
    open.request.peer = *met;
    return place(number);
  }
  open.searching = true;
  context_.signalling.find_devices(account, open.deadline, [this, number](const std::optional<FoundDevice>& found) {
    found ? device_found(number, *found) : search_over(number);
  });
}

/// The device with that short id, if its chain is in the store; `wanted`, if it is not zero.
std::optional<proto::DeviceId> ConnectionManager::met_device(const proto::AccountId& id,
                                                             const proto::DeviceId& wanted) const {
  proto::ShortDeviceId short_id;
  short_id.bytes = id.bytes;
  const auto met = context_.stores.certificates.device_of(short_id);
  if (!met || *met == own_ || (!wanted.is_zero() && *met != wanted)) return std::nullopt;
  return met;
}

/// A device of the account, or with that short id, to which there is a connection; `wanted`, if it is not zero.
std::optional<proto::DeviceId> ConnectionManager::connected_device(const proto::AccountId& account,
                                                                   const proto::DeviceId& wanted) const {
  for (const auto& [number, connection] : connections_) {
    const proto::DeviceId& device = connection.socket->peer();
    if (!wanted.is_zero() && device != wanted) continue;
    if (is_of(*connection.socket, account) && usable(device) != nullptr) return device;
  }
  return std::nullopt;
}

bool ConnectionManager::is_of(const MultiplexedSocket& socket, const proto::AccountId& account) const {
  return connections_.at(socket.number()).account == account ||
         socket.peer_chain()->short_device_id().bytes == account.bytes;
}

void ConnectionManager::device_found(OpenNumber number, const FoundDevice& found) {
  const auto it = opens_.find(number);
  if (it == opens_.end() || found.device == own_) return;
  PendingOpen& open = it->second;
  const bool narrowed = !open.request.peer.is_zero() && open.request.peer != found.device;
  // It has settled on a device already, if it does not search any more.
  if (!open.searching || narrowed || open.candidates.size() >= kMaxCandidates) return;
  if (chains_.trust_of(found.device, found.short_id) == Trust::kBanned) {
    open.failure = OpenError{proto::Reason::kBanned, "this device has banned the peer"};
    return;
  }
  if (usable(found.device) != nullptr) {
    settle_on(number, found.device);
    return place(number);
  }
  open.candidates.insert(found.device);
  Peer& peer = peers_[found.device];
  peer.short_id = found.short_id;
  peer.public_key = found.public_key;
  wait_for(number, found.device);
  forget_peer_if_unused(found.device);
}

OpenError ConnectionManager::nothing_found() const {
  const proto::Reason reason = whose_fault(proto::Reason::kNotFound);
  if (reason != proto::Reason::kNotFound) return {reason, std::string(proto::reason_info(reason).text)};
  return {reason, "no device of this id, or of this account, is announced"};
}

void ConnectionManager::search_over(OpenNumber number) {
  const auto it = opens_.find(number);
  if (it == opens_.end() || !std::exchange(it->second.searching, false)) return;
  if (!it->second.candidates.empty()) return;
  const bool tried = it->second.failure.has_value();
  complete(number, tried ? *it->second.failure : nothing_found());
}

/// The open is for this device from now on; nobody else is called for it.
void ConnectionManager::settle_on(OpenNumber number, const proto::DeviceId& device) {
  const auto it = opens_.find(number);
  if (it == opens_.end() || !it->second.request.account) return;
  PendingOpen& open = it->second;
  open.searching = false;
  open.request.peer = device;
  auto others = std::exchange(open.candidates, {});
  others.erase(device);
  for (const proto::DeviceId& other : others) {
    if (const auto peer = peers_.find(other); peer != peers_.end()) peer->second.waiting.erase(number);
    give_up_dialling(other);
  }
}

/// An open to an account goes on with the other devices.
void ConnectionManager::candidate_failed(OpenNumber number, const proto::DeviceId& device,
                                         const AttemptFailure& failure) {
  const auto it = opens_.find(number);
  if (it == opens_.end()) return;
  PendingOpen& open = it->second;
  const OpenError error{failure.reason, failure.text};
  if (open.candidates.erase(device) == 0) return complete(number, error);
  open.failure = error;
  if (open.candidates.empty() && !open.searching) complete(number, error);
}

void ConnectionManager::leave_peers(OpenNumber number, const PendingOpen& open) {
  std::set<proto::DeviceId> devices = open.candidates;
  devices.insert(open.request.peer);
  for (const proto::DeviceId& device : devices) {
    if (const auto peer = peers_.find(device); peer != peers_.end()) peer->second.waiting.erase(number);
  }
}

}  // namespace connd::daemon
