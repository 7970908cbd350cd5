// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/end_sequence.h"

#include <cassert>
#include <utility>

#include <spdlog/spdlog.h>

namespace connd::daemon {

EndSequence::EndSequence(Loop& loop, std::vector<Step> steps, std::function<void()> over)
    : steps_(std::move(steps)), over_(std::move(over)), timer_(loop, [this] { on_time(); }) {}

void EndSequence::begin(proto::Duration time) {
  assert(!begun_);
  begun_ = true;
  timer_.arm_in(time);
  next();
}

void EndSequence::next() {
  if (ended_) return;
  if (at_ == steps_.size()) return end();
  steps_[at_++].run([this] { next(); });
}

void EndSequence::on_time() {
  spdlog::warn("not all has ended in time: what is left of it is left; it waited for: {}", steps_[at_ - 1].what);
  end();
}

void EndSequence::end() {
  ended_ = true;
  timer_.stop();
  over_();
}

}  // namespace connd::daemon
