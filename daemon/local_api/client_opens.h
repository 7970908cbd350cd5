// SPDX-License-Identifier: GPL-3.0-or-later
/// ClientOpens: channels that the local side opens: who may open one more, what waits for an answer, and whose the
/// channel is then.
#pragma once

#include <functional>
#include <optional>

#include "daemon/connection/connection_manager.h"
#include "daemon/local_api/attachments.h"
#include "daemon/local_api/control_turns.h"
#include "daemon/local_api/ipc_settings.h"
#include "daemon/local_api/local_apps.h"
#include "daemon/local_api/pending_opens.h"
#include "daemon/local_api/user_paces.h"

namespace connd::daemon {

class ClientOpens {
 public:
  struct Context {
    Loop& loop;
    const IpcSettings& settings;
    ControlTurns& turns;
    Attachments& attachments;
    PendingOpens& pending;
    LocalApps& apps;
  };
  struct Granted {
    ipc::ChannelOpenResult result;
    ipc::Fd fd;  ///< none where the result has a token, or the opener has the channel already
  };
  using Answer = ipc::Outcome<Granted>;
  using Done = std::function<void(Answer)>;

  explicit ClientOpens(const Context& context) : context_(context) {}
  void set_manager(ConnectionManager* manager) { manager_ = manager; }

  /// Opens a channel for `opener`, which has joined LocalApps. Either an error now, or `done` once, later or from here;
  /// never after the opens of `opener` were taken back. `id`: what cancel() calls it. There is a manager.
  ipc::Outcome<void> start(const ChannelTaker& opener, const ipc::Json& id, OpenRequest request, Done done);
  /// Gives up an open of this one that has no answer: it fails with kCancelled, from here. False: there is none.
  bool cancel(const ChannelTaker& opener, const ipc::Json& id);
  /// Gives all of them up, a piece at a time: false while there are more.
  bool take_back(const ChannelTaker& opener);

 private:
  [[nodiscard]] std::optional<ipc::Error> refusal(const ChannelTaker& opener, const OpenRequest& request,
                                                  const std::string& peer);
  [[nodiscard]] std::optional<ipc::Error> no_share(const ChannelTaker& opener, const std::string& peer,
                                                   std::size_t name);
  bool give_up(const ChannelTaker& opener, OpenNumber open);
  void opened(PendingOpens::Key key, OpenResult result, const Done& done);
  Answer grant(const ChannelTaker& opener, OpenedChannel opened, const std::string& peer);

  const Context context_;
  ConnectionManager* manager_ = nullptr;
  UserPaces paces_;
};

}  // namespace connd::daemon
