// SPDX-License-Identifier: GPL-3.0-or-later
// The socket and its clients; channels, questions and events are in ipc_server_channels.cpp and ipc_server_events.cpp.
#include "daemon/local_api/ipc_server.h"

#include <fcntl.h>

#include <cerrno>

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include "daemon/local_api/api.h"
#include "daemon/system/fd_limits.h"
#include "daemon/system/log.h"

namespace connd::daemon {
namespace {

/// One turn's share of new clients: so many, if that takes no longer.
constexpr int kAcceptsPerTurn = 16;
constexpr std::chrono::microseconds kAcceptTimePerTurn{500};
/// Of what a client has that has gone: so much is taken back in one piece of work.
constexpr std::size_t kTakenBackPerPiece = 8;
/// Whoever comes again and again must not fill the log: one line of clients that are turned away in this time.
constexpr proto::Duration kRefusalLinePace = std::chrono::seconds(1);
/// Without a free fd there is nothing to do but to wait for one.
constexpr proto::Duration kAcceptPause = std::chrono::milliseconds(200);

ipc::Fd reserve_fd() {
  return ipc::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

/// Says why, and closes. The line fits into an empty socket; who does not want it does not get it.
void turn_away(ipc::Fd socket, const ipc::Error& error) {
  const std::string line = ipc::error_line(nullptr, error) + "\n";
  static_cast<void>(::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

/// The owner of a user service need not share it.
IpcSettings for_its_users(IpcSettings settings) {
  if (settings.access.owner) settings.places = UserPlaces{};
  return settings;
}

}  // namespace

IpcServer::IpcServer(const Context& context, IpcSettings settings, ControlListener listener)
    : context_(context),
      settings_(for_its_users(std::move(settings))),
      listener_(std::make_unique<ControlListener>(std::move(listener))),
      turns_(context.loop, [this](ClientNumber client) { return serve(client); }),
      listeners_(settings_.listeners, settings_.reservations, settings_.places),
      asked_(settings_.max_asked_per_client),
      held_(settings_.max_asked_per_client),
      reserve_(reserve_fd()),
      later_(context.loop,
             [this] {
               if (shut_down_done_ && sessions_.empty()) std::exchange(shut_down_done_, nullptr)();
             }),
      ask_timer_(context.loop, [this] { expire_asked(); }),
      refusal_timer_(context.loop, [this] { report_refusals(refusals_.due(context_.loop.now())); }),
      token_timer_(context.loop, [this] { expire_tokens(); }),
      start_timer_(context.loop, [this] { run_waiting(); }),
      accept_again_(context.loop, [this] { on_connecting(); }),
      accept_poll_(std::make_unique<Poll>(context.loop, listener_->fd(), [this](int) { on_connecting(); })) {
  accept_poll_->want(Poll::kReadable);
  context_.events.set_sink(
      [this](std::uint64_t /*seq*/, const std::string& type, const ipc::Json& data) { on_event(type, data); });
}

void IpcServer::set_settings(IpcSettings settings) {
  settings.access = settings_.access;
  settings_ = for_its_users(std::move(settings));
  listeners_.set_reservations(settings_.reservations);
  listeners_.set_places(settings_.places);
}

IpcServer::~IpcServer() {
  context_.events.set_sink({});
}

// ---- clients come ----

void IpcServer::on_connecting() {
  if (!accept_poll_) return;
  accept_poll_->want(Poll::kReadable);
  const auto end = std::chrono::steady_clock::now() + kAcceptTimePerTurn;
  for (int i = 0; i < kAcceptsPerTurn && std::chrono::steady_clock::now() < end && accept_one(); ++i) {
  }
}

/// True when there may be another.
bool IpcServer::accept_one() {
  ipc::Fd socket(::accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket) {
    admit(lift_fd(std::move(socket)));
    return true;
  }
  switch (errno) {
    case EINTR:
    case ECONNABORTED:
      return true;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      out_of_fds();
      return false;
    default:
      return false;
  }
}

/// No fd is free. The reserve makes one, so that the client hears why; then it is taken again.
void IpcServer::out_of_fds() {
  spdlog::warn("no file descriptor is free for a client of the control socket");
  ++totals_.limits_hit;
  reserve_.reset();
  ipc::Fd socket(::accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket) {
    turn_away(std::move(socket),
              ipc::make_error(ipc::Reason::kResourceLimit, "the daemon has no file descriptor left"));
  }
  reserve_ = reserve_fd();
  // The socket stays readable while others wait: without a pause this would spin.
  accept_poll_->want(0);
  accept_again_.arm_in(kAcceptPause);
}

void IpcServer::admit(ipc::Fd socket) {
  auto credentials = ipc::peer_credentials(socket.get());
  if (!credentials || !settings_.access.may_connect(*credentials)) {
    return turn_away(std::move(socket),
                     ipc::make_error(ipc::Reason::kNotPermitted, "this user may not use this daemon's control socket"));
  }
  const ControlTurns::Charged charged(turns_, credentials->uid);
  const bool admin = settings_.access.is_admin(*credentials);
  if (const auto refused = no_place(*credentials, admin)) {
    ++totals_.limits_hit;
    if (context_.loop.now() >= next_refusal_line_) {
      next_refusal_line_ = context_.loop.now() + kRefusalLinePace;
      spdlog::warn("a client of uid {} is turned away: {} clients are connected", credentials->uid, sessions_.size());
    }
    return turn_away(std::move(socket), *refused);
  }
  const ClientNumber number = next_client_++;
  spdlog::debug("client={} uid={} pid={} admin={} connected", number, credentials->uid, credentials->pid, admin);
  ++users_[credentials->uid].clients;
  sessions_.emplace(
      number, std::make_unique<IpcSession>(context_.loop, *this, number, std::move(socket), std::move(*credentials),
                                           admin, settings_.max_uncollected_fds));
}

std::optional<ipc::Error> IpcServer::no_place(const ipc::PeerCredentials& client, bool admin) const {
  const std::size_t all = settings_.max_clients;
  const UserPlaces& places = settings_.places;
  const auto user = users_.find(client.uid);
  const std::size_t own = user != users_.end() ? user->second.clients : 0;
  if (sessions_.size() < all && (admin || places.may_take(own, sessions_.size(), all))) return std::nullopt;
  const bool share = !admin && own >= places.share(all) && places.shared();
  return ipc::make_error(ipc::Reason::kResourceLimit,
                         share ? share_text("clients", places.share(all), all) : "too many clients");
}

IpcSession* IpcServer::find(ClientNumber client) const {
  const auto it = sessions_.find(client);
  return it == sessions_.end() ? nullptr : it->second.get();
}

// ---- from the sessions ----

void IpcServer::on_request(IpcSession& session, ipc::Request request) {
  api::dispatch(*this, session, request);
}

void IpcServer::on_session_ready(IpcSession& session) {
  turns_.want(session.credentials().uid, session.number());
}

void IpcServer::on_session_moved(IpcSession& session) {
  turns_.want(session.credentials().uid, session.number());
}

void IpcServer::count(IpcSession::Counted what) {
  switch (what) {
    case IpcSession::Counted::kDropped:
      ++totals_.clients_dropped;
      break;
    case IpcSession::Counted::kEventLost:
      ++totals_.events_lost;
      break;
    case IpcSession::Counted::kLimit:
      ++totals_.limits_hit;
      break;
  }
}

/// One piece of a client's work, or of taking back what it had. Nothing of a session or of the manager is on the stack.
bool IpcServer::serve(ClientNumber client) {
  IpcSession* session = find(client);
  if (session == nullptr) return false;
  bool more = session->work();
  const bool ends = session->state() == IpcSession::State::kEnding || session->state() == IpcSession::State::kGone;
  if (!ends) {
    more = accept_held(*session) || more;
    return more;
  }
  if (!take_back(*session)) return true;
  session->end();
  if (session->state() != IpcSession::State::kGone) return true;
  spdlog::debug("client={} name={} gone", client, log_quote(session->name()));
  const auto user = users_.find(session->credentials().uid);
  --user->second.clients;
  if (user->second.empty()) users_.erase(user);
  sessions_.erase(client);
  if (shut_down_done_ && sessions_.empty()) later_.arm_in(proto::Duration{0});
  return false;
}

/// What a client that has ended asked for, a piece at a time: false while there is more. Its channels live on as long
/// as their fds.
bool IpcServer::take_back(IpcSession& session) {
  const ClientNumber client = session.number();
  session.unsubscribe();
  if (policy_owner_ == client) {
    policy_owner_ = 0;
    for (const auto& [question, asked] : std::exchange(questions_, {})) {
      if (manager_ != nullptr) (void)manager_->answer_connection(question, false);
    }
  }
  waiting_.remove_client(client);
  if (!listeners_.remove_client(client, kTakenBackPerPiece)) return false;
  for (AskedRequests* table : {&asked_, &held_}) {
    for (const proto::ChannelHandle channel : table->of_client(client, kTakenBackPerPiece)) {
      table->take(channel);
      refuse(channel, proto::Reason::kDeclined, "the application has gone");
    }
  }
  arm_ask_timer();
  abandon_tokens(client);
  for (std::size_t i = 0; i < kTakenBackPerPiece && !session.opens().empty(); ++i) {
    const auto [key, open] = *session.opens().begin();
    if (manager_ != nullptr && manager_->cancel_open(open.open, proto::Reason::kCancelled)) cancelled(session);
    (void)forget_open(session, key);  // where nobody answers it
  }
  if (!session.opens().empty() || asked_.count_of(client) + held_.count_of(client) > 0) return false;
  return owners_.orphan(client, kTakenBackPerPiece);
}

void IpcServer::shut_down(std::function<void()> done) {
  shut_down_done_ = std::move(done);
  accept_poll_.reset();
  start_timer_.stop();
  fail_waiting(waiting_.take_all(), ipc::make_error(ipc::Reason::kShuttingDown));
  listener_.reset();  // whoever waits to be accepted sees the end, too
  for (auto& [number, session] : sessions_) session->close();
  later_.arm_in(proto::Duration{0});
}

}  // namespace connd::daemon
