// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/brake.h"

#include <algorithm>
#include <cassert>

namespace connd::proto {

void Brake::held(ChannelHandle channel, std::size_t bytes, TimePoint now) {
  Held& held = held_[channel];
  held.bytes += bytes;
  total_ += bytes;
  if (on_ && held.since == kNever) ask(held, now);
  if (!held.ended && held.bytes >= kHeldMark) set_over(held, true);
  update(now);
}

void Brake::ended(ChannelHandle channel) {
  const auto it = held_.find(channel);
  if (it == held_.end()) return;
  it->second.ended = true;
  set_over(it->second, false);
  update(TimePoint{});  // it can only go off
}

void Brake::taken(ChannelHandle channel, std::size_t bytes, TimePoint now) {
  const auto it = held_.find(channel);
  if (it == held_.end()) return;
  Held& held = it->second;
  assert(bytes <= held.bytes);
  held.bytes -= bytes;
  total_ -= bytes;
  if (held.over || over_ == 0) passed_ += bytes;
  held.due -= std::min<std::uint64_t>(held.due, bytes);
  // Not at the first byte below the mark: the brake would be on again at once.
  if (held.bytes + kStopTake <= kHeldMark) set_over(held, false);
  if (held.bytes == 0) {
    held_.erase(it);
  } else if (held.due == 0) {
    ask(held, on_ ? now : kNever);
  }
  update(now);
}

void Brake::forget(ChannelHandle channel) {
  const auto it = held_.find(channel);
  if (it == held_.end()) return;
  set_over(it->second, false);
  total_ -= it->second.bytes;
  held_.erase(it);
  update(TimePoint{});  // it can only go off
}

std::vector<ChannelHandle> Brake::expire(TimePoint now) {
  if (!on_ || now < tick_) return {};
  judge(now);
  sip(now);
  return to_end();
}

/// From `now` on the app has to take something.
void Brake::ask(Held& held, TimePoint now) {
  held.due = std::min<std::uint64_t>((held.bytes + 1) / 2, kStopTake);
  held.since = now;
  held.stuck = false;
}

void Brake::set_over(Held& held, bool over) {
  if (held.over == over) return;
  held.over = over;
  over ? ++over_ : --over_;
}

/// Whether the brake is on.
void Brake::update(TimePoint now) {
  if (total_ >= crowd_mark()) crowded_ = true;
  if (total_ + ease() <= crowd_mark()) crowded_ = false;
  const bool on = over_ > 0 || crowded_;
  if (on == on_) return;
  if (on) return begin(now);
  on_ = false;
  // Who has had a whole stop has had it; the others' begins anew.
  for (auto& [channel, held] : held_) {
    if (!held.stuck) held.since = kNever;
  }
}

void Brake::begin(TimePoint now) {
  on_ = true;
  base_ = ceiling_ = total_;
  passed_ = 0;
  tick_ = now + kSipInterval;
  for (auto& [channel, held] : held_) {
    if (held.since == kNever) ask(held, now);
  }
}

/// What the apps that everybody waits for have taken since the last tick was read in its place. What that is short of a
/// sip is added; what it is more pays for earlier sips.
void Brake::sip(TimePoint now) {
  const std::uint64_t wanted = ceiling_ + kSipBytes;
  const std::uint64_t highest = std::min<std::uint64_t>(max_total_, total_ + kSipBytes);
  ceiling_ = std::clamp(wanted - std::min(wanted, passed_), base_, std::max(base_, highest));
  passed_ = 0;
  tick_ = now + kSipInterval;
}

void Brake::judge(TimePoint now) {
  // Time in which nobody has asked does not count: the machine was asleep, or there was nothing to read.
  const Duration late = now - tick_ > kSipInterval ? now - tick_ : Duration{};
  for (auto& [channel, held] : held_) {
    if (held.since == kNever) continue;
    held.since += late;
    if (now - held.since >= kStopTime) held.stuck = true;
  }
}

std::vector<ChannelHandle> Brake::to_end() const {
  std::vector<ChannelHandle> ends;
  std::vector<std::pair<std::uint64_t, ChannelHandle>> others;
  std::uint64_t left = total_;
  std::uint64_t stuck = 0;
  for (const auto& [channel, held] : held_) {
    if (!held.stuck) continue;
    if (held.over) {
      ends.push_back(channel);
      left -= held.bytes;
    } else {
      others.emplace_back(held.bytes, channel);
      stuck += held.bytes;
    }
  }
  // One that reads slowly, and holds much for it, is no fault of those that hold little and do not read.
  if (left < crowd_mark() || stuck < left / 2) return ends;
  std::sort(others.rbegin(), others.rend());
  for (const auto& [bytes, channel] : others) {
    if (left <= crowd_mark() / 2) break;
    ends.push_back(channel);
    left -= bytes;
  }
  return ends;
}

}  // namespace connd::proto
