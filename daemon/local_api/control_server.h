// SPDX-License-Identifier: GPL-3.0-or-later
/// ControlServer: the control socket and the sessions of its clients: who gets in, whose turn it is, and when one has
/// gone. What clients ask for is its Owner's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/local_api/control_listener.h"
#include "daemon/local_api/control_turns.h"
#include "daemon/local_api/ipc_session.h"
#include "daemon/local_api/ipc_settings.h"

namespace connd::daemon {

class ControlServer final : private IpcSession::Owner {
 public:
  class Owner {
   public:
    /// The next client's.
    [[nodiscard]] virtual ClientNumber new_client() = 0;
    virtual void client_came(IpcSession& session) = 0;
    /// Answer by the session's reply() or fail(), at once or later.
    virtual void client_asks(IpcSession& session, ipc::Request request) = 0;
    /// What there is to do for a client beside its own requests, a piece of it, in its turn. True: there may be more.
    virtual bool work_beside(IpcSession& session) = 0;
    /// The client has ended: takes back what it asked for, a piece at a time: false while there is more. Called again
    /// while it still reads what was said.
    virtual bool take_back(IpcSession& session) = 0;
    /// The session is destroyed after this.
    virtual void client_gone(IpcSession& session) = 0;

   protected:
    ~Owner() = default;
  };

  /// Accepts clients from now on. `settings` and `owner` outlive it; the former may change, but for `access`.
  ControlServer(Loop& loop, const IpcSettings& settings, ControlListener listener, Owner& owner);

  /// Accepts nobody any more, and lets the clients go when they have read what is queued, or IpcSession::kDrainTime has
  /// passed. The socket's path goes at once. `done` in a later turn.
  void shut_down(std::function<void()> done);

  /// Null: it has gone.
  [[nodiscard]] IpcSession* find(ClientNumber client) const;
  [[nodiscard]] std::size_t client_count() const { return sessions_.size(); }
  /// How many clients each user has that has any.
  [[nodiscard]] const std::unordered_map<uid_t, std::size_t>& clients_of_users() const { return users_; }
  [[nodiscard]] const ClientTotals& totals() const { return totals_; }
  [[nodiscard]] ControlTurns& turns() { return turns_; }
  [[nodiscard]] const UidShares& shares() const { return turns_.shares(); }

 private:
  void on_connecting();
  bool accept_one();
  void admit(ipc::Fd socket);
  void out_of_fds();
  [[nodiscard]] std::optional<ipc::Error> no_place(const ipc::PeerCredentials& client, bool admin) const;
  bool serve(ClientNumber client);
  void remove(IpcSession& session);

  // IpcSession::Owner
  void on_request(IpcSession& session, ipc::Request request) override;
  void on_session_ready(IpcSession& session) override;
  void on_session_moved(IpcSession& session) override;
  void count(IpcSession::Counted what) override;

  Loop& loop_;
  const IpcSettings& settings_;
  Owner& owner_;
  std::unique_ptr<ControlListener> listener_;
  std::unordered_map<ClientNumber, std::unique_ptr<IpcSession>> sessions_;
  std::unordered_map<uid_t, std::size_t> users_;
  ControlTurns turns_;
  ClientTotals totals_;
  std::function<void()> shut_down_done_;
  ipc::Fd reserve_;  ///< closed to have one fd when there is none: the client is told, and goes
  proto::TimePoint next_refusal_line_{};
  Timer later_;  ///< tells the end of the last client, when nothing of it is on the stack
  Timer accept_again_;
  std::unique_ptr<Poll> accept_poll_;
};

}  // namespace connd::daemon
