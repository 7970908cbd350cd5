// SPDX-License-Identifier: GPL-3.0-or-later
// Time, and whether the peer is alive.
#include <utility>

#include "daemon/multiplexed_socket.h"

namespace connd::daemon {

void MultiplexedSocket::probe() {
  if (!up()) return;
  // What lies in the socket already, perhaps since before a sleep, would pass for a sign of life: it is read first.
  probe_due_ = true;
  transport_.again();
}

void MultiplexedSocket::all_read() {
  if (!std::exchange(probe_due_, false)) return;
  context_.loop.update_now();
  if (!mux_->asking()) (void)gets_through();  // from here on it counts
  mux_->probe(now());
  arm_timer();
  request_turn();
}

void MultiplexedSocket::arm_timer() {
  timer_.arm(mux_->next_deadline());
}

/// The peer has acknowledged more than at the last look, and has not all of it: on a slow path a ping waits behind what
/// the kernel holds, for longer than a peer has to answer it. One that stands still acknowledges until its kernel is
/// full.
bool MultiplexedSocket::gets_through() {
  const IceTransport::Delivery delivery = transport_.delivery();
  const bool more = delivery.acknowledged > std::exchange(acknowledged_, delivery.acknowledged);
  return more && !delivery.complete;
}

void MultiplexedSocket::on_deadline() {
  if (state_ == State::kDraining) return report_down();
  if (!mux_ || state_ >= State::kClosing) return;
  // After a suspend the peer's bytes may be here already: look before judging it by the clock.
  receive();
  if (state_ >= State::kClosing) return;
  const bool due = mux_->answer_due(now());
  if ((due || !mux_->asking()) && gets_through()) mux_->allow_more_time(now());
  if (const auto alive = mux_->on_timeout(now()); !alive) return fail(alive.error());
  if (const auto taken = take_events(); !taken) return fail(taken.error());
  arm_timer();
  request_turn();
}

}  // namespace connd::daemon
