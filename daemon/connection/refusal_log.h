// SPDX-License-Identifier: GPL-3.0-or-later
/// RefusalLog: which refused connection requests the log tells of. A peer that is refused asks again, and each of its
/// requests comes by several ways; whoever invents device ids must not fill the log either. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

#include "proto/device_id.h"
#include "proto/reason.h"
#include "proto/time.h"

namespace connd::daemon {

class RefusalLog {
 public:
  /// Of one peer there is one line in this time; for another reason, in that.
  static constexpr proto::Duration kInterval = std::chrono::minutes(10);
  static constexpr proto::Duration kAnotherReason = std::chrono::seconds(10);
  /// Peers that have a line in that time. Requests of others are counted, and told with the next line that there is.
  static constexpr std::size_t kMaxPeers = 64;

  /// What a line says beside who and why.
  struct Line {
    std::uint64_t more = 0;    ///< requests of this peer since its last line
    std::uint64_t others = 0;  ///< of peers that have had no line
  };

  /// A request was refused: the line to be written, if any.
  std::optional<Line> refused(const proto::DeviceId& peer, proto::Reason reason, proto::TimePoint now) {
    auto it = peers_.find(peer);
    if (it != peers_.end() && now - it->second.told < (it->second.reason == reason ? kInterval : kAnotherReason)) {
      ++it->second.more;
      return std::nullopt;
    }
    if (it == peers_.end()) {
      if (peers_.size() >= kMaxPeers)
        std::erase_if(peers_, [now](const auto& one) { return now - one.second.told >= kInterval; });
      if (peers_.size() >= kMaxPeers) {
        ++others_;
        return std::nullopt;
      }
      it = peers_.try_emplace(peer).first;
    }
    const Line line{it->second.more, std::exchange(others_, 0)};
    it->second = {reason, now, 0};
    return line;
  }

 private:
  struct Peer {
    proto::Reason reason{};
    proto::TimePoint told{};
    std::uint64_t more = 0;
  };
  std::unordered_map<proto::DeviceId, Peer> peers_;
  std::uint64_t others_ = 0;
};

}  // namespace connd::daemon
