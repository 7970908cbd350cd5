// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/paced_opens.h"

namespace connd::daemon {

void PacedOpens::go_on(std::set<OpenNumber> opens, Step step) {
  Released released{std::move(opens), std::move(step)};
  std::size_t left = released_.empty() ? kPerTurn : 0;
  for (; left > 0 && !released.opens.empty(); --left) released.take_one();
  if (released.opens.empty()) return;
  released_.push_back(std::move(released));
  timer_.arm_in(proto::Duration{0});
}

void PacedOpens::complete_later(OpenNumber open, OpenResult result) {
  answers_.emplace_back(open, std::move(result));
  timer_.arm_in(proto::Duration{0});
}

void PacedOpens::run() {
  for (std::size_t i = 0; i < kPerTurn && !answers_.empty(); ++i) {
    auto [open, result] = std::move(answers_.front());
    answers_.pop_front();
    complete_(open, std::move(result));
  }
  for (std::size_t i = 0; i < kPerTurn && !released_.empty(); ++i) {
    // A step may release others, which come behind: the first one stays where it is.
    Released& released = released_.front();
    released.take_one();
    if (released.opens.empty()) released_.pop_front();
  }
  if (!answers_.empty() || !released_.empty()) timer_.arm_in(kPause);
}

}  // namespace connd::daemon
