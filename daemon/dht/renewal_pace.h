// SPDX-License-Identifier: GPL-3.0-or-later
/// RenewalPace: how often the node of OpenDHT is made anew: one that helped may be followed by another soon, those that
/// did not by pauses that grow. Knows no clock and no node. One thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "proto/time.h"

namespace connd::daemon {

class RenewalPace {
 public:
  /// While nothing helps.
  static constexpr std::array kPauses{proto::Duration(60'000), proto::Duration(120'000), proto::Duration(300'000),
                                      proto::Duration(600'000)};
  /// Between two in any case.
  static constexpr proto::Duration kGap{10'000};

  [[nodiscard]] bool may_begin(proto::TimePoint now) const {
    if (under_way_) return false;
    return now >= begun_at_ + (in_vain_ == 0 ? kGap : kPauses[std::min(in_vain_, kPauses.size()) - 1]);
  }
  void begin(proto::TimePoint now) {
    under_way_ = true;
    begun_at_ = now;
    ++in_vain_;
    ++count_;
  }
  /// The new node is there; whether it helps is not known yet.
  void on_made() { under_way_ = false; }
  /// All is well again.
  void on_helped() { in_vain_ = 0; }

  [[nodiscard]] bool under_way() const { return under_way_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  bool under_way_ = false;
  proto::TimePoint begun_at_ = proto::TimePoint{} - std::chrono::hours(1);
  std::size_t in_vain_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace connd::daemon
