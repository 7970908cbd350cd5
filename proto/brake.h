// SPDX-License-Identifier: GPL-3.0-or-later
/// Brake: what bounds the bytes held for apps where a dialect has no credit. The only way to stop one channel of such a
/// peer is to stop reading the connection, which stops all of them, its beacons included: so that is done seldom and
/// shortly, and then the channel has to go.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "proto/channel.h"
#include "proto/time.h"

namespace connd::proto {

/// Sans-IO, as the mux that owns it. Channels are named by their handles.
class Brake {
 public:
  /// `max_total`: held for all channels together.
  explicit Brake(std::uint64_t max_total) : max_total_(max_total) {}

  /// `bytes` of the channel came and are held for its app. Returns a channel that has to end as `stalled` now, because
  /// there was a stop not long ago; 0: none.
  [[nodiscard]] ChannelHandle held(ChannelHandle channel, std::size_t bytes, TimePoint now);
  /// The channel has ended on the wire, and gets no more: it may keep what it holds, which counts in the total still.
  void ended(ChannelHandle channel);
  /// The app took `bytes`.
  void taken(ChannelHandle channel, std::size_t bytes);
  /// The channel is gone, with what was held for it.
  void forget(ChannelHandle channel);

  /// The connection is not to be read.
  [[nodiscard]] bool stopped() const { return stopped_until_ != kNever; }
  /// When to call expire(), while stopped.
  [[nodiscard]] TimePoint deadline() const { return stopped_until_; }
  /// The stop is over if its time is. Returns the channels that have to end as `stalled`: those that hold too much, or
  /// else, when all together do, the one that holds the most, ended on the wire or not.
  std::vector<ChannelHandle> expire(TimePoint now);

  [[nodiscard]] std::uint64_t total() const { return total_; }

 private:
  struct Held {
    std::uint64_t bytes = 0;
    bool ended = false;  ///< on the wire
    [[nodiscard]] bool over() const { return !ended && bytes >= kMaxHeldPerChannel; }
  };
  [[nodiscard]] ChannelHandle largest() const;

  const std::uint64_t max_total_;
  std::unordered_map<ChannelHandle, Held> held_;  ///< channels for which something is held
  std::uint64_t total_ = 0;
  std::size_t over_ = 0;  ///< channels that hold as much as they may, and could get more
  TimePoint stopped_until_ = kNever;
  TimePoint next_stop_{};
};

}  // namespace connd::proto
