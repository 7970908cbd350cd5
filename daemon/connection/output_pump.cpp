// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/output_pump.h"

#include <utility>

namespace connd::daemon {
namespace {
/// Ciphertext that may wait for the socket before apps are no longer read: one batch. With two, apps' bytes are out of
/// the processor's nearest cache before they are sent: a tenth slower, and small channels wait longer.
constexpr std::size_t kSendHighWater = proto::Mux::kOutputTarget;
/// Rounds of making and sending output in one turn of one connection; then others have theirs.
constexpr int kSendsPerTurn = 1;
}  // namespace

proto::Result<bool> OutputPump::send() {
  for (int round = 0; round < kSendsPerTurn && !broken_; ++round) {
    while (link_.unsent() < kSendHighWater) {
      const auto made = make_batch();
      if (!made) return made.error();
      if (!*made) break;
    }
    if (life_.ending()) return true;
    const auto status = link_.flush();
    if (!status) {
      broken_ = status.error();
    } else if (*status == Link::Status::kBlocked) {
      return false;  // Link::Owner::link_ready wakes the connection
    } else if (mux_ == nullptr || !mux_->has_output()) {
      return false;
    }
  }
  if (broken_) drop_all();
  return !broken_;
}

/// Gives one batch of the mux to the link. False when there is nothing to send.
proto::Result<bool> OutputPump::make_batch() {
  if (mux_ == nullptr || life_.ending()) return false;
  mux_->flush_control();
  while (mux_->output().size() < proto::Mux::kOutputTarget) {
    const auto turn = mux_->next_sender();
    if (!turn) break;
    channels_.serve(*turn);
  }
  if (mux_->output().empty()) return false;
  const auto written = link_.write(mux_->output());
  mux_->output_taken();
  if (!written) return written.error();
  return true;
}

void OutputPump::drop_all() {
  if (mux_ == nullptr) return;
  do {
    mux_->output_taken();
    mux_->flush_control();
  } while (!mux_->output().empty());
}

// ---- the end ----

bool OutputPump::all_delivered() const {
  return mux_->channel_count() == 0 && !mux_->has_output() && link_.quiet();
}

/// Gives the link what the mux still has to say, as far as there is room, and then its end.
void OutputPump::write_rest() {
  while (!all_said_ && link_.unsent() < proto::Mux::kOutputTarget) {
    mux_->flush_control();
    all_said_ = mux_->output().empty() || !link_.write(mux_->output());
    mux_->output_taken();
  }
  if (all_said_) link_.close();
}

proto::Result<bool> OutputPump::send_rest() {
  for (;;) {
    if (mux_ != nullptr) write_rest();
    const auto status = link_.flush();
    if (!status) return status.error();
    if (*status == Link::Status::kBlocked) return false;
    if (mux_ == nullptr || all_said_) return true;
  }
}

// ---- how it gets on ----

bool OutputPump::gets_through() {
  const Link::Delivery delivery = link_.delivery();
  const bool more = delivery.acknowledged > std::exchange(acknowledged_, delivery.acknowledged);
  return more && !delivery.complete;
}

}  // namespace connd::daemon
