// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionQuestions: unknown peers that ask for a connection, and the one client that decides about them.
#pragma once

#include <functional>
#include <map>
#include <string_view>

#include "daemon/connection/connection_manager.h"
#include "daemon/event_loop/loop.h"
#include "daemon/local_api/listener_table.h"
#include "ipc/api_admin.h"

namespace connd::daemon {

class ConnectionQuestions final : public ConnectionAsker {
 public:
  /// Tells this client; false when it is about to go, or gone.
  using Tell = std::function<bool(ClientNumber client, std::string_view method, ipc::Json params)>;

  ConnectionQuestions(Loop& loop, Tell tell) : loop_(loop), tell_(std::move(tell)) {}
  void set_manager(ConnectionManager* manager) { manager_ = manager; }

  /// This client decides from now on. False: another one does.
  bool register_owner(ClientNumber client);
  [[nodiscard]] bool is_owner(ClientNumber client) const { return owner_ == client; }
  /// The client has gone: was it the owner, what waits is declined.
  void leave(ClientNumber client);
  /// The owner or an administrator answers. False: it is over, or not for this client to answer.
  bool answer(ClientNumber client, bool admin, std::uint64_t question, bool accept);
  /// What waits for an answer, the oldest first.
  [[nodiscard]] ipc::ConnectionRequestsResult list() const;

  // ConnectionAsker
  bool ask_connection(const Question& question) override;
  void connection_question_over(std::uint64_t number) override;

 private:
  struct Asked {
    Question question;
    proto::TimePoint since;
  };

  Loop& loop_;
  const Tell tell_;
  ConnectionManager* manager_ = nullptr;
  ClientNumber owner_ = 0;
  std::map<std::uint64_t, Asked> questions_;  ///< as many as the gate asks
};

}  // namespace connd::daemon
