// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/state_disk.h"

#include <utility>

namespace connd::daemon {

void StateDisk::run(Work work, Done done) {
  jobs_.push_back({std::move(work), std::move(done)});
  run_next();
}

void StateDisk::run_next() {
  if (running_ || jobs_.empty()) return;
  running_ = true;
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  const auto outcome = std::make_shared<Outcome<void>>();  // two owners, the work and its end, which follow each other
  loop_.post_work([outcome, work = std::move(job.work)] { *outcome = work(); },
                  [this, alive = std::weak_ptr<bool>(alive_), outcome, done = std::move(job.done)] {
                    if (!alive.expired()) on_done(*outcome, done);
                  });
}

void StateDisk::on_done(const Outcome<void>& outcome, const Done& done) {
  running_ = false;
  done(outcome);  // may ask for more
  run_next();
  if (running_) return;
  for (const auto& call : std::exchange(idle_, {})) call();
}

void StateDisk::when_idle(std::function<void()> call) {
  if (!running_) return call();
  idle_.push_back(std::move(call));
}

}  // namespace connd::daemon
