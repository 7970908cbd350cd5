// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/channel.h"

#include <cassert>

namespace connd::proto {
namespace {
constexpr int kFreshTurns = 4;
}

std::optional<ChannelState> next_state(ChannelState state, ChannelEvent event) {
  using S = ChannelState;
  using E = ChannelEvent;
  switch (state) {
    case S::kRequested:
      // A reset here belongs to an earlier channel of the same id: the peer answers a request, it does not reset it.
      if (event == E::kAccepted) return S::kOpen;
      if (event == E::kRefused) return S::kGone;
      if (event == E::kResetSent) return S::kResetSent;
      return std::nullopt;
    case S::kOffered:
      if (event == E::kAccepted) return S::kOpen;
      if (event == E::kRefused || event == E::kResetReceived) return S::kGone;
      return std::nullopt;
    case S::kOpen:
      if (event == E::kResetSent) return S::kResetSent;
      if (event == E::kResetReceived || event == E::kBothEnded) return S::kGone;
      return std::nullopt;
    case S::kResetSent:
      // A refusal that crossed our reset counts as its answer. Two EOFs mean that the peer had forgotten the channel
      // before our reset came to it, and will not answer.
      if (event == E::kResetReceived || event == E::kRefused || event == E::kBothEnded) return S::kGone;
      return std::nullopt;
    case S::kGone:
      return std::nullopt;
  }
  return std::nullopt;
}

void SendOrder::add(Channel& channel) {
  assert(channel.queue == nullptr);
  channel.queue = channel.bulk ? &waiting_ : &fresh_;
  channel.place = channel.queue->insert(channel.queue->end(), &channel);
}

void SendOrder::remove(Channel& channel) {
  if (channel.queue == nullptr) return;
  channel.queue->erase(channel.place);
  channel.queue = nullptr;
}

std::optional<SendOrder::Turn> SendOrder::next() {
  if (empty()) return std::nullopt;
  const bool fresh = !fresh_.empty() && (waiting_.empty() || fresh_in_a_row_ < kFreshTurns);
  std::list<Channel*>& from = fresh ? fresh_ : waiting_;
  const std::size_t quantum = fresh && !waiting_.empty() ? kFreshQuantum : kDataQuantum;
  fresh_in_a_row_ = fresh ? fresh_in_a_row_ + 1 : 0;
  Channel* channel = from.front();
  waiting_.splice(waiting_.end(), from, from.begin());
  channel->queue = &waiting_;
  return Turn{channel, quantum};
}

}  // namespace connd::proto
