// SPDX-License-Identifier: GPL-3.0-or-later
/// SilenceGauge: whether anything comes from the network at all, by a count of datagrams that somebody looks at now and
/// then. Knows no clock. One thread.
#pragma once

#include <cstdint>
#include <utility>

#include "proto/time.h"

namespace connd::daemon {

class SilenceGauge {
 public:
  SilenceGauge(proto::TimePoint now, proto::Duration silence) : silence_(silence), heard_at_(now) {}

  /// How many have come since the start. True: something has, after a silence.
  bool on_count(std::uint64_t total, proto::TimePoint now) {
    if (total != total_) {
      total_ = total;
      heard_at_ = now;
      return std::exchange(silent_, false);
    }
    if (now - heard_at_ >= silence_) silent_ = true;
    return false;
  }
  [[nodiscard]] bool silent() const { return silent_; }

 private:
  const proto::Duration silence_;
  std::uint64_t total_ = 0;
  proto::TimePoint heard_at_;
  bool silent_ = false;
};

}  // namespace connd::daemon
