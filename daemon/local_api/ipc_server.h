// SPDX-License-Identifier: GPL-3.0-or-later
/// IpcServer: the local API's side of the daemon: the control socket, its clients, and who of them owns what.
///
/// It is there before the device has an identity and thus a ConnectionManager, and outlives it: opens that are pending
/// when the manager shuts down are answered through it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "daemon/connection/connection_manager.h"
#include "daemon/local_api/asked_requests.h"
#include "daemon/local_api/attach_tokens.h"
#include "daemon/local_api/channel_owners.h"
#include "daemon/local_api/client_access.h"
#include "daemon/local_api/control_listener.h"
#include "daemon/local_api/control_turns.h"
#include "daemon/local_api/daemon_view.h"
#include "daemon/local_api/ipc_session.h"
#include "daemon/local_api/listener_table.h"
#include "daemon/local_api/refusal_meter.h"
#include "daemon/local_api/start_queue.h"
#include "daemon/local_api/user_paces.h"
#include "daemon/local_api/user_places.h"

namespace connd::daemon {

class IdentityKeeper;

struct IpcSettings {
  ClientAccess access = ClientAccess::user_service();
  std::size_t max_clients = 256;
  std::size_t max_channels_per_client = 65'536;
  std::size_t max_uncollected_fds = ipc::kMaxUncollectedFds;
  /// A listener that was asked has this long to answer.
  proto::Duration ask_time = std::chrono::seconds(30);
  /// Requests of peers that wait for one client's answer.
  std::size_t max_asked_per_client = 4'096;
  ListenerLimits listeners;
  /// What one local user may have: of the clients above, of the listeners, and of what the ConnectionManager may have
  /// in all, which is told here once more. A user service has one user, who gets everything.
  UserPlaces places;
  std::size_t max_channels = proto::kMaxChannels;
  std::size_t max_connections = 4'096;
  std::size_t max_pending_opens = 65'536;
  std::size_t max_open_name_bytes = std::size_t{64} << 20;
  std::vector<PrefixReservation> reservations;
  /// Of an open that says nothing of it.
  proto::Duration open_time = std::chrono::seconds(30);
};

/// Sums since the daemon began.
struct ClientTotals {
  std::uint64_t clients_dropped = 0;  ///< they did not read
  std::uint64_t events_lost = 0;      ///< of all subscribers
  std::uint64_t limits_hit = 0;  ///< times that a client was told resource-limit, or a peer, for a client's sake, busy
};

/// What the clients of one user have, all together.
struct UserUse {
  std::size_t clients = 0;
  std::size_t opens = 0;  ///< that wait for an answer
  std::size_t open_name_bytes = 0;
  std::unordered_map<std::string, std::size_t> opens_to;  ///< by peer or account

  [[nodiscard]] bool empty() const { return clients == 0 && opens == 0; }
};

class IpcServer final : public ChannelApps, public ConnectionAsker, public IpcSession::Owner {
 public:
  struct Context {
    Loop& loop;
    Stores& stores;
    EventHub& events;
    const DaemonView& view;
  };

  /// Accepts clients from now on, and is the sink of `events`.
  IpcServer(const Context& context, IpcSettings settings, ControlListener listener);
  ~IpcServer();

  /// From now on: what is there already may be more than a new limit. Access stays as it was.
  void set_settings(IpcSettings settings);
  /// There is one now, or (null) none any more. Until then opens wait, within their time.
  void set_manager(ConnectionManager* manager);
  /// As set_manager, for the verbs identity.*.
  void set_identity(IdentityKeeper* identity) { identity_ = identity; }
  /// Accepts nobody any more, and lets the clients go when they have read what is queued, or IpcSession::kDrainTime has
  /// passed. The socket's path goes at once. `done` in a later turn.
  void shut_down(std::function<void()> done);
  [[nodiscard]] std::size_t client_count() const { return sessions_.size(); }
  [[nodiscard]] const ClientTotals& totals() const { return totals_; }

  // ChannelApps, ConnectionAsker
  void on_channel_requested(const IncomingChannel& request) override;
  void on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) override;
  void on_channel_closed(const ChannelEnd& end) override;
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle channel) const override;
  bool ask_connection(const Question& question) override;
  void connection_question_over(std::uint64_t number) override;

  // IpcSession::Owner
  void on_request(IpcSession& session, ipc::Request request) override;
  void on_session_ready(IpcSession& session) override;
  void on_session_moved(IpcSession& session) override;
  void count(IpcSession::Counted what) override;

  // ---- for the methods of the API (daemon/api_*.cpp) ----

  [[nodiscard]] const Context& context() const { return context_; }
  [[nodiscard]] const IpcSettings& settings() const { return settings_; }
  [[nodiscard]] ConnectionManager* manager() const { return manager_; }
  [[nodiscard]] IdentityKeeper* identity() const { return identity_; }
  [[nodiscard]] ListenerTable& listeners() { return listeners_; }
  [[nodiscard]] const ChannelOwners& owners() const { return owners_; }
  [[nodiscard]] const AskedRequests& asked() const { return asked_; }
  /// Channels that listeners take unasked, and that are not accepted until their clients have taken those before.
  [[nodiscard]] const AskedRequests& held() const { return held_; }
  [[nodiscard]] const UidShares& shares() const { return turns_.shares(); }
  /// What each user has that has clients, by uid.
  [[nodiscard]] std::vector<ipc::UserStatus> users() const;

  /// The channel's owner if the client may know of it: the client itself, or an administrator. Else null.
  [[nodiscard]] const OwnedChannel* visible_channel(const IpcSession& session, proto::ChannelHandle channel) const;
  /// Answers later, unless it returns an error.
  ipc::Outcome<void> start_open(IpcSession& session, const ipc::Json& id, OpenRequest request);
  /// What was asked for needs the ConnectionManager, and waits for it: it is answered later, unless this is an error.
  ipc::Outcome<void> wait_for_start(const IpcSession& session, const ipc::Request& request);
  /// To a call whose answer comes later: its result (without an fd), or what went wrong. Nothing happens when the
  /// client has gone.
  void answer_later(ClientNumber client, const ipc::Json& id, std::variant<ipc::Json, ipc::Error> answer);
  /// The session's call of this id waits for the start no more; it fails with kCancelled. False: none does.
  bool cancel_waiting(IpcSession& session, const ipc::Json& id);
  /// This client gives up an open that has no answer.
  void cancelled(const IpcSession& session);
  /// Why this client can get no token for a channel, or nothing.
  [[nodiscard]] std::optional<ipc::Error> no_token(const IpcSession& session) const;
  /// A token for a channel of this client's that began detached. While it is not attached, its time runs.
  std::string new_token(const IpcSession& session, proto::ChannelHandle channel);
  /// The session's socket becomes the channel of this token: it is answered, and the session gone, unless this is an
  /// error.
  ipc::Outcome<void> attach(IpcSession& session, const ipc::Json& id, std::string_view token);
  /// Takes a request that this client was asked about; nothing when it was not, or the request is over.
  std::optional<AskedRequest> take_asked(const IpcSession& session, proto::ChannelHandle channel);
  void refuse_listener(ClientNumber client, ListenerNumber listener);
  /// The fd goes to the session in what is sent next.
  void own(IpcSession& session, proto::ChannelHandle channel, OwnedChannel owned);
  /// False: another client has it.
  bool register_policy(const IpcSession& session);
  /// The policy's owner or an administrator answers. False: it is over, or not for this client to answer.
  bool answer_connection(const IpcSession& session, std::uint64_t question, bool accept);
  /// As channel.list and the events have it; `for_admin` adds the owner.
  /// Error: resource-limit, when they would not fit into a line. Then they are not made.
  [[nodiscard]] ipc::Outcome<std::vector<ipc::ChannelInfo>> channels_seen_by(const IpcSession& session) const;
  [[nodiscard]] std::vector<ipc::ConnectionInfo> connections() const;
  /// The questions about unknown peers that wait for an answer.
  [[nodiscard]] ipc::ConnectionRequestsResult connection_requests() const;

 private:
  /// Who hears of an event.
  enum class Audience : std::uint8_t { kAll, kAdmins };

  void on_connecting();
  bool accept_one();
  void admit(ipc::Fd socket);
  void out_of_fds();
  bool serve(ClientNumber client);
  bool take_back(IpcSession& session);
  [[nodiscard]] std::optional<ipc::Error> no_place(const ipc::PeerCredentials& client, bool admin) const;
  void remember_open(IpcSession& session, std::uint64_t key, IpcSession::PendingOpen open);
  std::optional<IpcSession::PendingOpen> forget_open(IpcSession& session, std::uint64_t key);
  void run_waiting();
  void run_waiting(StartQueue::Waiting& call);
  void fail_waiting(const std::vector<StartQueue::Waiting>& calls, const ipc::Error& error);
  IpcSession* find(ClientNumber client) const;

  [[nodiscard]] bool has_all_channels(IpcSession& session) const;
  [[nodiscard]] bool user_has_all_channels(const IpcSession& session) const;
  [[nodiscard]] std::optional<ipc::Error> no_open(IpcSession& session, const std::string& peer, std::size_t name);
  void accept_at_once(IpcSession& session, const Listener& listener, const IncomingChannel& request);
  void ask(IpcSession& session, const Listener& listener, const IncomingChannel& request);
  [[nodiscard]] bool room_for_another_fd(const IpcSession& session) const;
  void hold(const IpcSession& session, const Listener& listener, const IncomingChannel& request);
  bool accept_held(IpcSession& session);
  void arm_ask_timer();
  void expire_asked();
  void abandon(proto::ChannelHandle channel, std::string_view text);
  void expire_tokens();
  void abandon_tokens(ClientNumber client);
  void refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);
  void open_done(ClientNumber client, std::uint64_t key, OpenResult result);
  void answer_open(IpcSession& session, const IpcSession::PendingOpen& open, OpenedChannel opened);
  void own_nobodys(const OpenedChannel& opened);
  [[nodiscard]] ipc::ChannelInfo describe(const ChannelView& view, const OwnedChannel* owned, bool for_admin) const;

  void on_event(const std::string& type, const ipc::Json& data);
  void broadcast(const std::string& type, const ipc::Json& members, Audience audience);
  [[nodiscard]] bool has_subscriber() const;
  void report_opened(proto::ChannelHandle channel, const OwnedChannel& owned);
  void report_closed(const ChannelEnd& end, const OwnedChannel& owned);
  void report_refusals(const std::vector<RefusalMeter::Report>& reports);

  const Context context_;
  IpcSettings settings_;
  ConnectionManager* manager_ = nullptr;
  IdentityKeeper* identity_ = nullptr;
  std::unique_ptr<ControlListener> listener_;
  std::unordered_map<ClientNumber, std::unique_ptr<IpcSession>> sessions_;
  std::unordered_map<uid_t, UserUse> users_;
  UserPaces paces_;
  ControlTurns turns_;
  ClientNumber next_client_ = 1;
  std::uint64_t next_open_ = 1;
  ListenerTable listeners_;
  ChannelOwners owners_;
  AskedRequests asked_;
  AskedRequests held_;  ///< for listeners that take all: they wait for room_for_another_fd
  AttachTokens tokens_;
  ClientNumber policy_owner_ = 0;
  /// That the policy's owner has not answered; as many as the gate asks.
  struct AskedConnection {
    Question question;
    proto::TimePoint since;
  };
  std::map<std::uint64_t, AskedConnection> questions_;
  StartQueue waiting_;
  RefusalMeter refusals_;
  ClientTotals totals_;
  std::function<void()> shut_down_done_;
  ipc::Fd reserve_;  ///< closed to have one fd when there is none: the client is told, and goes
  Timer later_;      ///< tells the end of the last client, when nothing of it is on the stack
  Timer ask_timer_;
  Timer refusal_timer_;
  Timer token_timer_;
  Timer start_timer_;
  proto::TimePoint next_refusal_line_{};
  Timer accept_again_;
  std::unique_ptr<Poll> accept_poll_;
};

}  // namespace connd::daemon
