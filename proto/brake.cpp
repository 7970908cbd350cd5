// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/brake.h"

#include <algorithm>
#include <cassert>

namespace connd::proto {

ChannelHandle Brake::held(ChannelHandle channel, std::size_t bytes, TimePoint now) {
  Held& held = held_[channel];
  const bool was_over = held.over();
  held.bytes += bytes;
  total_ += bytes;
  const bool over = held.over();
  if (over && !was_over) ++over_;
  if (!over && total_ < max_total_) return 0;
  if (stopped()) return 0;  // what one read has brought before it was stopped
  if (now < next_stop_) return over ? channel : largest();
  stopped_until_ = now + kStopTime;
  next_stop_ = now + kStopInterval;
  return 0;
}

void Brake::ended(ChannelHandle channel) {
  const auto it = held_.find(channel);
  if (it == held_.end()) return;
  if (it->second.over()) --over_;
  it->second.ended = true;
  if (over_ == 0 && total_ <= max_total_ / 2) stopped_until_ = kNever;
}

void Brake::taken(ChannelHandle channel, std::size_t bytes) {
  const auto it = held_.find(channel);
  if (it == held_.end()) return;
  Held& held = it->second;
  assert(bytes <= held.bytes);
  const bool was_over = held.over();
  held.bytes -= bytes;
  total_ -= bytes;
  if (was_over && !held.over()) --over_;
  const bool eased = held.bytes <= kMaxHeldPerChannel / 2 && over_ == 0 && total_ <= max_total_ / 2;
  if (held.bytes == 0) held_.erase(it);
  // Not at the first byte below the bound: reading would stop again at once.
  if (eased) stopped_until_ = kNever;
}

void Brake::forget(ChannelHandle channel) {
  const auto it = held_.find(channel);
  if (it == held_.end()) return;
  taken(channel, static_cast<std::size_t>(it->second.bytes));
}

std::vector<ChannelHandle> Brake::expire(TimePoint now) {
  std::vector<ChannelHandle> stalled;
  if (!stopped() || now < stopped_until_) return stalled;
  stopped_until_ = kNever;
  for (const auto& [channel, held] : held_) {
    if (held.over()) stalled.push_back(channel);
  }
  if (stalled.empty() && total_ >= max_total_) stalled.push_back(largest());
  return stalled;
}

/// Who holds the most, when no channel alone holds too much.
ChannelHandle Brake::largest() const {
  const auto it = std::max_element(held_.begin(), held_.end(),
                                   [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
  return it == held_.end() ? 0 : it->first;
}

}  // namespace connd::proto
