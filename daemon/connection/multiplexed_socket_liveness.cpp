// SPDX-License-Identifier: GPL-3.0-or-later
// Time, and whether the peer is alive.
#include <algorithm>
#include <utility>

#include "daemon/connection/multiplexed_socket.h"

namespace connd::daemon {

void MultiplexedSocket::probe() {
  if (!up()) return;
  // What lies in the link already, perhaps since before a sleep, would pass for a sign of life: it is read first.
  probe_due_ = true;
  link_->again();
}

void MultiplexedSocket::all_read() {
  if (!std::exchange(probe_due_, false)) return;
  context_.loop.update_now();
  if (!mux_->keepalive().asking()) (void)gets_through();  // from here on it counts
  mux_->probe(now());
  arm_timer();
  request_turn();
}

void MultiplexedSocket::arm_timer() {
  link_deadline_ = link_->next_deadline();
  const bool asks_mux = mux_ && state_ < State::kClosing;
  timer_.arm(std::min({link_deadline_, down_at_, asks_mux ? mux_->next_deadline() : proto::kNever}));
}

/// The peer has acknowledged more than at the last look, and has not all of it: on a slow path a ping waits behind what
/// the kernel holds, for longer than a peer has to answer it. One that stands still acknowledges until its kernel is
/// full.
bool MultiplexedSocket::gets_through() {
  const Link::Delivery delivery = link_->delivery();
  const bool more = delivery.acknowledged > std::exchange(acknowledged_, delivery.acknowledged);
  return more && !delivery.complete;
}

void MultiplexedSocket::on_deadline() {
  const bool link_due = link_->next_deadline() <= now();
  if (link_due) {
    request_turn();  // to flush
    if (const auto alive = link_->on_deadline(now()); !alive && state_ < State::kClosing) return fail(alive.error());
  }
  if (state_ == State::kDraining && now() >= down_at_) return report_down();
  if (!mux_ || state_ >= State::kClosing || (link_due && now() < mux_->next_deadline())) return arm_timer();
  // After a suspend the peer's bytes may be here already: look before judging it by the clock.
  receive();
  if (state_ >= State::kClosing) return;
  const bool due = mux_->keepalive().answer_due(now());
  if ((due || !mux_->keepalive().asking()) && gets_through()) mux_->allow_more_time(now());
  if (const auto alive = mux_->on_timeout(now()); !alive) return fail(alive.error());
  if (const auto taken = take_events(); !taken) return fail(taken.error());
  arm_timer();
  request_turn();
}

}  // namespace connd::daemon
