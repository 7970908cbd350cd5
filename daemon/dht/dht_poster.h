// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtPoster: how the parts of a DhtClient come back to the loop, from OpenDHT's threads and from the pool.
///
/// A task that has come keeps the inside of the client alive until it returns, so that a callback in it may destroy the
/// client; a task that comes when the client is gone is dropped. So a part may be named in its tasks by `this`.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "daemon/event_loop/loop.h"

namespace connd::daemon {

/// A value: OpenDHT's callbacks have copies, which may outlive the client. The loop must be there while one posts.
class DhtPoster {
 public:
  /// `client`: what the parts are members of.
  DhtPoster(Loop& loop, std::weak_ptr<void> client) : loop_(&loop), client_(std::move(client)) {}

  /// Runs `task` on the loop's thread in a later turn. Any thread.
  template <class F>
  void post(F task) const {
    loop_->post(guarded(std::move(task)));
  }
  /// Runs `work` on the pool in any case, and `done` on the loop's thread after it. Loop's thread.
  template <class W, class F>
  void work(W work, F done) const {
    loop_->post_work(std::move(work), guarded(std::move(done)));
  }
  /// Keeps the client's inside alive for as long as the caller has it.
  [[nodiscard]] std::shared_ptr<void> hold() const { return client_.lock(); }

 private:
  template <class F>
  auto guarded(F task) const {
    return [client = client_, task = std::move(task)]() mutable {
      if (const auto alive = client.lock()) task();
    };
  }

  Loop* loop_;
  std::weak_ptr<void> client_;  // not an owner: a task that waits keeps nobody alive
};

}  // namespace connd::daemon
