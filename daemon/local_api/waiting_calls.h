// SPDX-License-Identifier: GPL-3.0-or-later
/// WaitingCalls: calls that race the daemon's start wait for what they need, as they would for a peer; and then are
/// worked for a few a turn.
#pragma once

#include <functional>
#include <vector>

#include "daemon/event_loop/loop.h"
#include "daemon/local_api/ipc_settings.h"
#include "daemon/local_api/start_queue.h"

namespace connd::daemon {

class WaitingCalls {
 public:
  struct Caller {
    ClientNumber client = 0;
    uid_t uid = static_cast<uid_t>(-1);
    bool admin = false;
  };
  class Owner {
   public:
    /// What it waited for is there. It has had some of its time: `timeout` in its params says what is left.
    virtual void run_call(const StartQueue::Waiting& call) = 0;
    /// Its time is over, or the daemon ends.
    virtual void fail_call(const StartQueue::Waiting& call, const ipc::Error& error) = 0;
    /// What a call hears whose time is over.
    [[nodiscard]] virtual ipc::Error not_started() const = 0;

   protected:
    ~Owner() = default;
  };

  /// `settings` outlives it, and may change.
  WaitingCalls(Loop& loop, const IpcSettings& settings, Owner& owner);

  /// What they wait for is there, or is there no more. They are run in later turns.
  void set_ready(bool ready);
  /// It waits for its `timeout`, or as long as an open does; or why it cannot: resource-limit.
  ipc::Outcome<void> add(const Caller& caller, const ipc::Request& request);
  /// The client's call of this id, taken out.
  std::optional<StartQueue::Waiting> take(ClientNumber client, const ipc::Json& id) {
    return waiting_.take(client, id);
  }
  void remove_client(ClientNumber client) { waiting_.remove_client(client); }
  [[nodiscard]] std::size_t count_of(ClientNumber client) const { return waiting_.count_of(client); }
  /// All fail with shutting-down; no more is run.
  void shut_down();

 private:
  void run();
  void run_one(StartQueue::Waiting call);

  Loop& loop_;
  const IpcSettings& settings_;
  Owner& owner_;
  bool ready_ = false;
  StartQueue waiting_;
  Timer timer_;
};

}  // namespace connd::daemon
