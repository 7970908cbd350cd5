// SPDX-License-Identifier: GPL-3.0-or-later
/// Knocks: who asked for a connection and was turned away, for people who wait for somebody and see nobody. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "proto/device_id.h"
#include "proto/reason.h"
#include "proto/time.h"

namespace connd::daemon {

struct Knock {
  proto::DeviceId device;
  proto::Reason reason = proto::Reason::kNotPermitted;  ///< of the last time
  std::uint64_t count = 0;                              ///< requests, since it is in the list
  proto::TimePoint at{};                                ///< of the last one
};

class Knocks {
 public:
  /// What a person reads at one glance. Whoever makes up device ids can push others out, and no more.
  static constexpr std::size_t kMost = 8;

  /// Only those that a change of the trust list, or a new certificate, would let in: who is banned is known to be, and
  /// what is refused for want of room is no judgement.
  void refused(const proto::DeviceId& device, proto::Reason reason, proto::TimePoint now) {
    using proto::Reason;
    if (reason != Reason::kNotPermitted && reason != Reason::kDeclined && reason != Reason::kBadCertificate) return;
    Knock knock{device, reason, 1, now};
    const auto known = std::find_if(list_.begin(), list_.end(), [&](const Knock& k) { return k.device == device; });
    if (known != list_.end()) {
      knock.count += known->count;
      list_.erase(known);
    } else if (list_.size() == kMost) {
      list_.pop_back();
    }
    list_.insert(list_.begin(), knock);
  }
  /// Those that were let in, or banned, meanwhile.
  template <class Predicate>
  void forget(const Predicate& decided) {
    std::erase_if(list_, [&](const Knock& k) { return decided(k.device); });
  }
  /// The newest first.
  [[nodiscard]] const std::vector<Knock>& list() const { return list_; }

 private:
  std::vector<Knock> list_;
};

}  // namespace connd::daemon
