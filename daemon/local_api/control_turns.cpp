// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/control_turns.h"

#include <algorithm>
#include <utility>

namespace connd::daemon {

ControlTurns::ControlTurns(Loop& loop, std::function<bool(ClientNumber)> work)
    : work_(std::move(work)), each_turn_(loop, [this] { run(); }) {}

void ControlTurns::want(uid_t uid, ClientNumber client) {
  if (shares_.wants(client)) return;
  shares_.want(uid, client, Clock::now());
  each_turn_.want(true);
}

void ControlTurns::run() {
  auto now = Clock::now();
  // While there is work the loop does not wait, so what has passed since the last time is what channels took.
  const auto outside = std::exchange(outside_, {});
  const auto end = now + std::clamp<UidShares::Time>(now - ended_ - outside, kLeastPerTurn, kMostPerTurn) - outside;
  for (bool first = true; first || now < end; first = false) {
    const auto turn = shares_.next();
    if (!turn) break;
    counting_ = true;
    const bool more = work_(turn->client);
    counting_ = false;
    const auto done = Clock::now();
    shares_.charge(turn->uid, done - now, done);
    if (!more) shares_.leave(turn->uid, turn->client, done);
    now = done;
  }
  ended_ = now;
  each_turn_.want(!shares_.empty());
}

ControlTurns::Charged::Charged(ControlTurns& turns, uid_t uid)
    : turns_(turns), uid_(uid), counts_(!std::exchange(turns.counting_, true)), since_(Clock::now()) {}

ControlTurns::Charged::~Charged() {
  if (!counts_) return;
  turns_.counting_ = false;
  const auto now = Clock::now();
  turns_.outside_ += now - since_;
  turns_.shares_.charge(uid_, now - since_, now);
}

}  // namespace connd::daemon
