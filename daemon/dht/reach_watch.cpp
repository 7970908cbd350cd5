// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/reach_watch.h"

#include <utility>

namespace connd::daemon {

ReachWatch::ReachWatch(Loop& loop, DhtPoster poster, Actions actions)
    : loop_(loop),
      poster_(std::move(poster)),
      actions_(std::move(actions)),
      reach_(loop.now()),
      timer_(loop, [this] { look_after(); }),
      traffic_timer_(loop, [this] { watch_traffic(); }),
      sleep_watch_(loop, [this](std::chrono::seconds) { on_sign(); }) {}

void ReachWatch::on_sign() {
  if (stopped_) return;
  reach_.on_sign(loop_.now());
  look_after();
}

void ReachWatch::on_connected(bool connected) {
  connected ? reach_.on_connected(loop_.now()) : reach_.on_disconnected(loop_.now());
  look_after();
}

void ReachWatch::on_node_made() {
  reach_.on_node_made(loop_.now());
  look_after();
}

void ReachWatch::on_test_passed() {
  reach_.on_test_passed(loop_.now());
  look_after();
}

/// Carries out what is due.
void ReachWatch::look_after() {
  const auto alive = poster_.hold();  // an action may destroy the client
  while (!stopped_) {
    const ReachAction action = reach_.next(loop_.now());
    if (action == ReachAction::kNone) break;
    carry_out(action);
  }
  if (stopped_) return;
  timer_.arm(reach_.next_deadline());
  if (reach_.state() == told_) return;
  told_ = reach_.state();
  actions_.told(told_);
}

void ReachWatch::carry_out(ReachAction action) {
  switch (action) {
    case ReachAction::kWakeListens:
      return actions_.wake_listens();
    case ReachAction::kWakeAll:
      return actions_.wake_all();
    case ReachAction::kTest:
      return actions_.test();
    case ReachAction::kRenew:
      return actions_.renew();
    case ReachAction::kNone:
      return;
  }
}

void ReachWatch::watch_traffic() {
  if (stopped_) return;
  reach_.on_received(actions_.received(), loop_.now());
  traffic_timer_.arm_in(reach_.silent() ? Reachability::kSilentInterval : Reachability::kTrafficInterval);
  look_after();
}

void ReachWatch::stop() {
  stopped_ = true;
  timer_.stop();
  traffic_timer_.stop();
}

}  // namespace connd::daemon
