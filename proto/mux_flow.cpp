// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/mux_flow.h"

#include <algorithm>

namespace connd::proto {
namespace {
/// What one round of reading may bring before a stop is noticed: a read of 256 KiB, and what was decrypted before.
constexpr std::size_t kHeldSlack = std::size_t{2} << 20;
}  // namespace

MuxFlow::MuxFlow(bool credit, std::uint64_t max_buffer, std::uint32_t max_window)
    : credit_(credit), max_buffer_(max_buffer), pool_(max_buffer, max_window), brake_(max_buffer) {}

Result<void> MuxFlow::received(Channel& channel, std::size_t bytes, TimePoint now) {
  if (credit_) return channel.receive.received(bytes);
  brake_.held(channel.handle, bytes, now);
  return {};
}

std::uint32_t MuxFlow::consumed(Channel& channel, std::size_t bytes, TimePoint now) {
  if (credit_) return channel.receive.consumed(bytes, now);
  brake_.taken(channel.handle, bytes, now);
  return 0;
}

void MuxFlow::opened(Channel& channel) {
  // Without credit nothing but the link's pace bounds a sender: as much as can be written down, never used up.
  if (!credit_) (void)channel.credit.add(kMaxCredit);
  update(channel);
}

Result<void> MuxFlow::granted(Channel& channel, std::uint64_t bytes) {
  if (const auto added = channel.credit.add(bytes); !added) return added;
  update(channel);
  return {};
}

void MuxFlow::set_ready(Channel& channel, bool ready) {
  channel.ready = ready;
  if (!ready) channel.bulk = false;
  update(channel);
}

std::optional<MuxFlow::Turn> MuxFlow::next() {
  const auto turn = order_.next();
  if (!turn) return std::nullopt;
  return Turn{turn->channel, std::min<std::size_t>(turn->quantum, turn->channel->credit.available())};
}

void MuxFlow::sent(Channel& channel, std::size_t bytes) {
  if (credit_) channel.credit.use(static_cast<std::uint32_t>(bytes));
  // PROTOCOL.md 12: "One that had used up its credit and gets more has not just become ready."
  if (channel.credit.available() == 0) channel.bulk = channel.ready;
  update(channel);
}

/// The one place that decides whether a channel is in the order of senders.
void MuxFlow::update(Channel& channel) {
  const bool in_order = channel.queue != nullptr;
  if (channel.can_send() == in_order) return;
  in_order ? order_.remove(channel) : order_.add(channel);
}

void MuxFlow::ended(Channel& channel) {
  channel.receive.end();
  brake_.ended(channel.handle);
}

void MuxFlow::forget(Channel& channel) {
  brake_.forget(channel.handle);
  order_.remove(channel);
}

std::size_t MuxFlow::max_held() const {
  return credit_ ? kMaxWindow : static_cast<std::size_t>(max_buffer_) + kHeldSlack;
}

std::uint64_t MuxFlow::buffered_bytes() const {
  if (!credit_) return brake_.total();
  return max_buffer_ - static_cast<std::uint64_t>(std::max<std::int64_t>(pool_.left(), 0));
}

}  // namespace connd::proto
