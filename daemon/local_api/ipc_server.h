// SPDX-License-Identifier: GPL-3.0-or-later
/// IpcServer: the local API's side of the daemon, put together: the control socket, the local applications, and what
/// they hear.
///
/// It is there before the device has an identity and thus a ConnectionManager, and outlives it: opens that are pending
/// when the manager shuts down are answered through it.
#pragma once

#include <functional>
#include <variant>
#include <vector>

#include "daemon/local_api/attachments.h"
#include "daemon/local_api/client_opens.h"
#include "daemon/local_api/connection_questions.h"
#include "daemon/local_api/control_server.h"
#include "daemon/local_api/daemon_view.h"
#include "daemon/local_api/event_feed.h"
#include "daemon/local_api/ipc_settings.h"
#include "daemon/local_api/local_apps.h"
#include "daemon/local_api/snapshot_streams.h"
#include "daemon/local_api/waiting_calls.h"

namespace connd::daemon {

class IdentityKeeper;

class IpcServer final : private ControlServer::Owner, private WaitingCalls::Owner {
 public:
  struct Context {
    Loop& loop;
    Stores& stores;
    EventHub& events;
    const DaemonView& view;
  };

  /// Accepts clients from now on, and is the sink of `events`.
  IpcServer(const Context& context, IpcSettings settings, ControlListener listener);

  /// From now on: what is there already may be more than a new limit. Access stays as it was.
  void set_settings(IpcSettings settings);
  /// There is one now, or (null) none any more. Until then opens wait, within their time.
  void set_manager(ConnectionManager* manager);
  /// As set_manager, for the verbs identity.*.
  void set_identity(IdentityKeeper* identity) { identity_ = identity; }
  /// As ControlServer::shut_down; calls that wait for the start fail.
  void shut_down(std::function<void()> done);

  [[nodiscard]] const Context& context() const { return context_; }
  [[nodiscard]] const IpcSettings& settings() const { return settings_; }
  [[nodiscard]] ConnectionManager* manager() const { return manager_; }
  [[nodiscard]] IdentityKeeper* identity() const { return identity_; }

  /// Peers' requests for channels, and the ends of channels, go to apps(); unknown peers' requests to questions().
  [[nodiscard]] LocalApps& apps() { return apps_; }
  [[nodiscard]] const LocalApps& apps() const { return apps_; }
  [[nodiscard]] ConnectionQuestions& questions() { return questions_; }
  [[nodiscard]] ClientOpens& opens() { return opens_; }
  [[nodiscard]] Attachments& attachments() { return attachments_; }
  [[nodiscard]] EventFeed& feed() { return feed_; }
  [[nodiscard]] SnapshotStreams& snapshots() { return snapshots_; }
  [[nodiscard]] const ControlServer& clients() const { return control_; }

  // ---- for the methods of the API (api_*.cpp) ----

  /// What each user has that has clients, by uid.
  [[nodiscard]] std::vector<ipc::UserStatus> users() const;
  [[nodiscard]] ClientTotals totals() const;
  /// What was asked for needs the ConnectionManager, and waits for it: it is answered later, unless this is an error.
  ipc::Outcome<void> wait_for_start(const IpcSession& session, const ipc::Request& request);
  /// The session's call of this id waits for the start no more; it fails with kCancelled. False: none does.
  bool cancel_waiting(IpcSession& session, const ipc::Json& id);
  /// To a call whose answer comes later: its result (without an fd), or what went wrong. Nothing happens when the
  /// client has gone.
  void answer_later(ClientNumber client, const ipc::Json& id, std::variant<ipc::Json, ipc::Error> answer);
  /// Nothing is under way for this client, nor is anything its own.
  [[nodiscard]] bool fresh(const IpcSession& session) const;

 private:
  // ControlServer::Owner
  ClientNumber new_client() override { return apps_.new_number(); }
  void client_came(IpcSession& session) override;
  void client_asks(IpcSession& session, ipc::Request request) override;
  bool work_beside(IpcSession& session) override;
  bool take_back(IpcSession& session) override;
  void client_gone(IpcSession& session) override;
  // WaitingCalls::Owner
  void run_call(const StartQueue::Waiting& call) override;
  void fail_call(const StartQueue::Waiting& call, const ipc::Error& error) override;
  [[nodiscard]] ipc::Error not_started() const override;

  const Context context_;
  IpcSettings settings_;
  ConnectionManager* manager_ = nullptr;
  IdentityKeeper* identity_ = nullptr;
  PendingOpens pending_;
  EventFeed feed_;
  ControlServer control_;
  Attachments attachments_;
  LocalApps apps_;
  ClientOpens opens_;
  ConnectionQuestions questions_;
  WaitingCalls waiting_;
  SnapshotStreams snapshots_;
};

}  // namespace connd::daemon
