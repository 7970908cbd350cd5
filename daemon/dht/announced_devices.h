// SPDX-License-Identifier: GPL-3.0-or-later
/// AnnouncedDevices: the devices that trusted accounts have announced on the DHT, known before they call. Strangers can
/// take the few look-ups that there are for unknown callers; these need none.
///
/// An announcement is signed by the account's key, so it lets a device in at the gate. Whether its certificate is good,
/// and not revoked, is seen in TLS, as with everybody.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "daemon/dht/signalling.h"
#include "daemon/event_loop/loop.h"
#include "daemon/trust/stores.h"

namespace connd::daemon {

/// Used on the loop's thread.
class AnnouncedDevices {
 public:
  /// Accounts that are asked for, the first in the order of ids: a person trusts some dozens.
  static constexpr std::size_t kMaxAccounts = 64;
  /// Of one account: a person has a few.
  static constexpr std::size_t kMaxPerAccount = 16;
  /// A device that joins its account is known this late, at most; until then it is as any caller.
  static constexpr proto::Duration kInterval = std::chrono::minutes(30);
  /// For one account.
  static constexpr proto::Duration kSearchTime = std::chrono::seconds(20);

  /// All outlive this. It asks soon, and again each kInterval.
  AnnouncedDevices(Loop& loop, Signalling& signalling, const Stores& stores);

  /// Accounts may be others now: they are asked soon, one after the other.
  void refresh();
  /// Whether an account that is allowed now has announced the device.
  [[nodiscard]] bool has(const proto::DeviceId& device) const;
  [[nodiscard]] std::size_t size() const { return devices_.size(); }

 private:
  void ask_all();
  void ask_next();
  void found(const proto::AccountId& account, const FoundDevice& device);

  Loop& loop_;
  Signalling& signalling_;
  const Stores& stores_;
  std::unordered_map<proto::DeviceId, proto::AccountId> devices_;
  std::unordered_map<proto::AccountId, std::size_t> counts_;
  std::deque<proto::AccountId> to_ask_;
  bool asking_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< a search holds a weak_ptr: it may end after us
  Timer timer_;
};

}  // namespace connd::daemon
