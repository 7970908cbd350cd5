// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/announced_devices.h"

namespace connd::daemon {

AnnouncedDevices::AnnouncedDevices(Loop& loop, Signalling& signalling, const Stores& stores)
    : loop_(loop), signalling_(signalling), stores_(stores), timer_(loop, [this] { ask_all(); }) {
  refresh();
}

void AnnouncedDevices::refresh() {
  timer_.arm_in(proto::Duration{0});  // in a later turn: what is asked for may answer at once
}

void AnnouncedDevices::ask_all() {
  timer_.arm_in(kInterval);
  to_ask_.clear();
  for (const TrustEntry& entry : stores_.trust.list()) {
    if (entry.state != Trust::kAllowed || entry.subject.kind() != TrustKind::kAccount) continue;
    if (to_ask_.size() < kMaxAccounts) to_ask_.push_back(*proto::AccountId::from_hex(entry.subject.id()));
  }
  ask_next();
}

void AnnouncedDevices::ask_next() {
  if (asking_ || to_ask_.empty()) return;
  asking_ = true;
  const proto::AccountId account = to_ask_.front();
  to_ask_.pop_front();
  signalling_.find_devices(
      account, loop_.now() + kSearchTime,
      [this, account, alive = std::weak_ptr<int>(alive_)](const std::optional<FoundDevice>& device) {
        if (alive.expired()) return;
        if (device) return found(account, *device);
        asking_ = false;
        ask_next();
      });
}

void AnnouncedDevices::found(const proto::AccountId& account, const FoundDevice& device) {
  if (devices_.contains(device.device) || counts_[account] >= kMaxPerAccount) return;
  // What was found for accounts that are allowed no more goes when there is no room.
  if (devices_.size() >= kMaxAccounts * kMaxPerAccount) {
    devices_.clear();
    counts_.clear();
  }
  devices_.emplace(device.device, account);
  ++counts_[account];
}

bool AnnouncedDevices::has(const proto::DeviceId& device) const {
  const auto it = devices_.find(device);
  return it != devices_.end() && stores_.trust.allows_account(it->second);
}

}  // namespace connd::daemon
