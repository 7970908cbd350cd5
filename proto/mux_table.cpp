// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux_table.h"

#include <utility>

namespace connd::proto {

// ---- looking up ----

Channel* MuxTable::find(ChannelHandle handle) const {
  Channel* channel = last_;
  if (channel == nullptr || channel->handle != handle) {
    const auto it = channels_.find(handle);
    channel = it != channels_.end() ? it->second.get() : nullptr;
  }
  return channel != nullptr && !channel->orphan ? channel : nullptr;
}

Channel* MuxTable::find_id(std::uint64_t id) {
  if (last_ != nullptr && last_->id == id && last_->state != ChannelState::kGone) return last_;
  if (id > kReservedChannel) return nullptr;
  const auto it = by_id_.find(static_cast<WireId>(id));
  if (it == by_id_.end()) return nullptr;
  expect(*it->second);
  return it->second;
}

Channel* MuxTable::find_unique(const std::string& name) const {
  const auto it = unique_names_.find(name);
  return it != unique_names_.end() ? it->second : nullptr;
}

// ---- changes ----

Channel& MuxTable::insert(std::unique_ptr<Channel> owned) {
  Channel& channel = *owned;
  pending_names(channel) += channel.name.size();
  if (channel.unique) unique_names_[channel.name] = &channel;
  by_id_.emplace(channel.id, &channel);
  channels_[channel.handle] = std::move(owned);
  return channel;
}

Channel& MuxTable::add(WireId id, std::string name, ChannelState state, bool unique) {
  auto channel = std::make_unique<Channel>(handles_.take(), id, std::move(name), state, flow_.pool());
  channel->ours = state == ChannelState::kRequested;
  channel->unique = unique;
  return insert(std::move(channel));
}

Channel& MuxTable::supersede(Channel& loser, WireId id) {
  auto winner = std::make_unique<Channel>(loser.handle, id, loser.name, ChannelState::kOffered, flow_.pool());
  winner->unique = true;
  auto owned = std::exchange(channels_[loser.handle], nullptr);
  loser.handle = handles_.take();
  loser.orphan = true;
  loser.unique = false;
  channels_[loser.handle] = std::move(owned);
  return insert(std::move(winner));
}

void MuxTable::apply(Channel& channel, ChannelEvent event) {
  const std::optional<ChannelState> next = next_state(channel.state, event);
  if (!next) return;
  const ChannelState before = std::exchange(channel.state, *next);
  if (before == ChannelState::kRequested || before == ChannelState::kOffered) {
    pending_names(channel) -= channel.name.size();
  }
  // PROTOCOL.md 17: "A request cannot be cancelled by its sender: the answer is awaited". Nothing else waits there.
  if (!rules_.resets && *next == ChannelState::kResetSent) ++unanswered_;
  if (!rules_.resets && before == ChannelState::kResetSent) --unanswered_;
  flow_.update(channel);
  if (*next == ChannelState::kOpen) return;
  // PROTOCOL.md 11: the name is taken "until the channel is gone or that side has sent a reset".
  if (find_unique(channel.name) == &channel) unique_names_.erase(channel.name);
  if (*next == ChannelState::kGone) leave_wire(channel);
}

void MuxTable::leave_wire(Channel& channel) {
  by_id_.erase(channel.id);
  flow_.ended(channel);
  if (channel.orphan) forget(channel);
}

void MuxTable::forget(Channel& channel) {
  if (last_ == &channel) last_ = nullptr;
  flow_.forget(channel);
  channels_.erase(channel.handle);
}

// ---- ids ----

/// PROTOCOL.md 10: "The TLS client requests ids 1 to 0x7fff, the server 0x8000 to 0xfffe".
MuxTable::Half MuxTable::ids_of_ours() const {
  return side_ == MuxSide::kClient ? Half{kClientFirstId, kClientLastId} : Half{kServerFirstId, kServerLastId};
}

bool MuxTable::is_ours(std::uint64_t id) const {
  const auto [first, last] = ids_of_ours();
  return id >= first && id <= last;
}

bool MuxTable::is_peers(std::uint64_t id) const {
  // PROTOCOL.md 17: in Jami's dialect "any id from 1 to 65,534 that is free, from either side".
  return id != kControlChannel && id < kReservedChannel && !(rules_.id_halves && is_ours(id));
}

std::optional<WireId> MuxTable::free_id() {
  const auto [first, last] = ids_of_ours();
  WireId id = last_id_;
  for (int tries = last - first + 1; tries > 0; --tries) {
    id = id == last ? first : static_cast<WireId>(id + 1);
    if (by_id_.find(id) == by_id_.end()) {
      last_id_ = id;
      return id;
    }
  }
  return std::nullopt;
}

}  // namespace connd::proto
