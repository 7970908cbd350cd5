// SPDX-License-Identifier: GPL-3.0-or-later
/// RefusalMeter: makes few events of many refused connection requests: at most one a second for each peer. Pure.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "proto/time.h"

namespace connd::daemon {

class RefusalMeter {
 public:
  /// Of one peer, for one second. Strangers beyond that many are in the log alone: whoever invents device ids must not
  /// make subscribers read them all.
  static constexpr std::size_t kMaxPeers = 64;
  static constexpr proto::Duration kInterval = std::chrono::seconds(1);

  struct Report {
    std::string peer;
    std::string reason;
    std::string detail;
    std::uint64_t count = 0;
  };

  /// Reports to be made now because of this refusal: none, or one.
  std::vector<Report> refused(Report refusal, proto::TimePoint now) {
    refusal.count = 1;
    if (const auto it = peers_.find(refusal.peer); it != peers_.end()) {
      refusal.count = it->second.count + 1;
      it->second = std::move(refusal);
      return {};
    }
    if (peers_.size() >= kMaxPeers) return {};
    if (peers_.empty()) next_ = now + kInterval;
    peers_.emplace(refusal.peer, Report{refusal.peer, {}, {}, 0});
    return {std::move(refusal)};
  }
  /// Reports that are due; who was not refused again is forgotten.
  std::vector<Report> due(proto::TimePoint now) {
    std::vector<Report> reports;
    if (peers_.empty() || now < next_) return reports;
    for (auto it = peers_.begin(); it != peers_.end();) {
      if (it->second.count == 0) {
        it = peers_.erase(it);
        continue;
      }
      reports.push_back(it->second);
      it->second.count = 0;
      ++it;
    }
    next_ = now + kInterval;
    return reports;
  }
  [[nodiscard]] proto::TimePoint next_deadline() const { return peers_.empty() ? proto::kNever : next_; }

 private:
  std::unordered_map<std::string, Report> peers_;
  proto::TimePoint next_{};
};

}  // namespace connd::daemon
