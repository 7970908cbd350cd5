// SPDX-License-Identifier: GPL-3.0-or-later
/// Brake: what bounds the bytes held for apps where a dialect has no credit. The only way to stop one channel of such a
/// peer is to read the connection no faster than that channel's app reads, which slows all channels down, and the
/// peer's beacons with them.
///
/// The brake is on while a channel holds kHeldMark, or all together half of what they may. Then the connection is read
/// as fast as apps take, and beyond that in sips (kSipBytes in each kSipInterval), as long as there is room for these:
/// so beacons, and what is for other channels, come through while an app pauses. An app that takes too little for
/// kStopTime loses its channel.
#pragma once

#include <algorithm>
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

  /// `bytes` of the channel came and are held for its app.
  void held(ChannelHandle channel, std::size_t bytes, TimePoint now);
  /// The channel has ended on the wire, and gets no more: it may keep what it holds, which counts in the total still.
  void ended(ChannelHandle channel);
  /// The app took `bytes`.
  void taken(ChannelHandle channel, std::size_t bytes, TimePoint now);
  /// The channel is gone, with what was held for it.
  void forget(ChannelHandle channel);

  /// The connection is not to be read.
  [[nodiscard]] bool stopped() const { return on_ && total_ >= ceiling_; }
  /// When to call expire(), while the brake is on.
  [[nodiscard]] TimePoint deadline() const { return on_ ? tick_ : kNever; }
  /// Lets a sip through if it is time for one. Returns the channels that have to end as `stalled`: their apps have not
  /// taken half of what was held for them, nor kStopTake, for kStopTime, and they hold kHeldMark; or all together hold
  /// too much, and mostly for such apps. Of those the ones that hold the most go, ended on the wire or not.
  std::vector<ChannelHandle> expire(TimePoint now);

  [[nodiscard]] std::uint64_t total() const { return total_; }

 private:
  struct Held {
    std::uint64_t bytes = 0;
    std::uint64_t due = 0;     ///< to be taken, or the app counts as one that does not read
    TimePoint since = kNever;  ///< when `due` was set; kNever: the brake was not on since
    bool ended = false;        ///< on the wire
    bool over = false;         ///< it has come to the mark, and is not well below it yet
    bool stuck = false;        ///< kStopTime has passed without `due`
  };
  [[nodiscard]] std::uint64_t crowd_mark() const { return max_total_ / 2; }
  [[nodiscard]] std::uint64_t ease() const { return std::min<std::uint64_t>(kStopTake, crowd_mark() / 2); }
  static void ask(Held& held, TimePoint now);
  void set_over(Held& held, bool over);
  void update(TimePoint now);
  void begin(TimePoint now);
  void sip(TimePoint now);
  void judge(TimePoint now);
  [[nodiscard]] std::vector<ChannelHandle> to_end() const;

  const std::uint64_t max_total_;
  std::unordered_map<ChannelHandle, Held> held_;  ///< channels for which something is held
  std::uint64_t total_ = 0;
  std::size_t over_ = 0;  ///< channels that are `over`
  bool crowded_ = false;  ///< as `over`, of all together
  bool on_ = false;
  std::uint64_t base_ = 0;     ///< held when the brake went on
  std::uint64_t ceiling_ = 0;  ///< from here on nothing is read
  std::uint64_t passed_ = 0;   ///< taken by apps since the last tick
  TimePoint tick_ = kNever;
};

}  // namespace connd::proto
