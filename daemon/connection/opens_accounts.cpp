// SPDX-License-Identifier: GPL-3.0-or-later
// Opens to an account: all its devices are called, and the first that answers gets the channel.
#include "daemon/connection/opens.h"

namespace connd::daemon {
namespace {

/// Devices that one open calls at most: a person has a few, and each costs an attempt.
constexpr std::size_t kMaxCandidates = 16;

/// The device with that short id, if its chain is in the store; `wanted`, if it is not zero.
std::optional<proto::DeviceId> met_device(const Stores& stores, const proto::AccountId& id,
                                          const proto::DeviceId& wanted) {
  proto::ShortDeviceId short_id;
  short_id.bytes = id.bytes;
  const auto met = stores.certificates.device_of(short_id);
  return met && (wanted.is_zero() || *met == wanted) ? met : std::nullopt;
}

}  // namespace

void Opens::search_devices(OpenNumber number, Pending& open) {
  const proto::AccountId account = *open.request.account;
  if (const auto connected = connections_.usable_device(account, open.request.peer)) {
    open.request.peer = *connected;
    return place(number);
  }
  // Who was met is known by its short id as well, and needs no search: it may not be announced any more.
  if (const auto met = met_device(context_.stores, account, open.request.peer); met && *met != own_) {
    if (chains_.trust_of(*met) == Trust::kBanned) {
      return paced_.complete_later(number, OpenError{proto::Reason::kBanned, "this device has banned the peer"});
    }
    open.request.peer = *met;
    return place(number);
  }
  open.searching = true;
  context_.signalling.find_devices(account, open.deadline, [this, number](const std::optional<FoundDevice>& found) {
    found ? device_found(number, *found) : search_over(number);
  });
}

void Opens::device_found(OpenNumber number, const FoundDevice& found) {
  Pending* open = find(number);
  if (open == nullptr || found.device == own_) return;
  const bool narrowed = !open->request.peer.is_zero() && open->request.peer != found.device;
  // It has settled on a device already, if it does not search any more.
  if (!open->searching || narrowed || open->candidates.size() >= kMaxCandidates) return;
  if (chains_.trust_of(found.device, found.short_id) == Trust::kBanned) {
    open->failure = OpenError{proto::Reason::kBanned, "this device has banned the peer"};
    return;
  }
  if (connections_.usable(found.device) != nullptr) {
    settle_on(number, found.device);
    return place(number);
  }
  open->candidates.insert(found.device);
  connector_.learned(found.device, found.short_id, found.public_key);
  wait_for(number, found.device);
  give_up_calling(found.device);  // there was no room for a call
}

void Opens::search_over(OpenNumber number) {
  Pending* open = find(number);
  if (open == nullptr || !std::exchange(open->searching, false)) return;
  if (!open->candidates.empty()) return;
  complete(number, open->failure ? *open->failure : nothing_found(context_.signalling.online()));
}

/// The open is for this device from now on; nobody else is called for it.
void Opens::settle_on(OpenNumber number, const proto::DeviceId& device) {
  Pending* open = find(number);
  if (open == nullptr || !open->request.account) return;
  open->searching = false;
  open->request.peer = device;
  auto others = std::exchange(open->candidates, {});
  others.erase(device);
  for (const proto::DeviceId& other : others) {
    leave_waiting(number, other);
    give_up_calling(other);
  }
}

/// An open to an account goes on with the other devices.
void Opens::candidate_failed(OpenNumber number, const proto::DeviceId& device, const AttemptFailure& failure) {
  Pending* open = find(number);
  if (open == nullptr) return;
  const OpenError error{failure.reason, failure.text};
  if (open->candidates.erase(device) == 0) return complete(number, error);
  open->failure = error;
  if (open->candidates.empty() && !open->searching) complete(number, error);
}

}  // namespace connd::daemon
