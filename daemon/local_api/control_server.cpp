// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/control_server.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include "daemon/system/fd_limits.h"
#include "daemon/system/log.h"

namespace connd::daemon {
namespace {

/// One turn's share of new clients: so many, if that takes no longer.
constexpr int kAcceptsPerTurn = 16;
constexpr std::chrono::microseconds kAcceptTimePerTurn{500};
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

}  // namespace

ControlServer::ControlServer(Loop& loop, const IpcSettings& settings, ControlListener listener, Owner& owner)
    : loop_(loop),
      settings_(settings),
      owner_(owner),
      listener_(std::make_unique<ControlListener>(std::move(listener))),
      turns_(loop, [this](ClientNumber client) { return serve(client); }),
      reserve_(reserve_fd()),
      later_(loop,
             [this] {
               if (shut_down_done_ && sessions_.empty()) std::exchange(shut_down_done_, nullptr)();
             }),
      accept_again_(loop, [this] { on_connecting(); }),
      accept_poll_(std::make_unique<Poll>(loop, listener_->fd(), [this](int) { on_connecting(); })) {
  accept_poll_->want(Poll::kReadable);
}

// ---- clients come ----

void ControlServer::on_connecting() {
  if (!accept_poll_) return;
  accept_poll_->want(Poll::kReadable);
  const auto end = std::chrono::steady_clock::now() + kAcceptTimePerTurn;
  for (int i = 0; i < kAcceptsPerTurn && std::chrono::steady_clock::now() < end && accept_one(); ++i) {
  }
}

/// True when there may be another.
bool ControlServer::accept_one() {
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
void ControlServer::out_of_fds() {
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

void ControlServer::admit(ipc::Fd socket) {
  auto credentials = ipc::peer_credentials(socket.get());
  if (!credentials || !settings_.access.may_connect(*credentials)) {
    return turn_away(std::move(socket),
                     ipc::make_error(ipc::Reason::kNotPermitted, "this user may not use this daemon's control socket"));
  }
  const ControlTurns::Charged charged(turns_, credentials->uid);
  const bool admin = settings_.access.is_admin(*credentials);
  if (const auto refused = no_place(*credentials, admin)) {
    ++totals_.limits_hit;
    if (loop_.now() >= next_refusal_line_) {
      next_refusal_line_ = loop_.now() + kRefusalLinePace;
      spdlog::warn("a client of uid {} is turned away: {} clients are connected", credentials->uid, sessions_.size());
    }
    return turn_away(std::move(socket), *refused);
  }
  const ClientNumber number = owner_.new_client();
  spdlog::debug("client={} uid={} pid={} admin={} connected", number, credentials->uid, credentials->pid, admin);
  ++users_[credentials->uid];
  IpcSession::Owner& owner = *this;  // make_unique may not see that it is one
  const auto session = sessions_.emplace(
      number, std::make_unique<IpcSession>(loop_, owner, number, std::move(socket), std::move(*credentials), admin,
                                           settings_.max_uncollected_fds));
  owner_.client_came(*session.first->second);
}

std::optional<ipc::Error> ControlServer::no_place(const ipc::PeerCredentials& client, bool admin) const {
  const std::size_t all = settings_.max_clients;
  const UserPlaces& places = settings_.places;
  const auto user = users_.find(client.uid);
  const std::size_t own = user != users_.end() ? user->second : 0;
  if (sessions_.size() < all && (admin || places.may_take(own, sessions_.size(), all))) return std::nullopt;
  const bool share = !admin && own >= places.share(all) && places.shared();
  return ipc::make_error(ipc::Reason::kResourceLimit,
                         share ? share_text("clients", places.share(all), all) : "too many clients");
}

IpcSession* ControlServer::find(ClientNumber client) const {
  const auto it = sessions_.find(client);
  return it == sessions_.end() ? nullptr : it->second.get();
}

// ---- from the sessions ----

void ControlServer::on_request(IpcSession& session, ipc::Request request) {
  owner_.client_asks(session, std::move(request));
}

void ControlServer::on_session_ready(IpcSession& session) {
  turns_.want(session.credentials().uid, session.number());
}

void ControlServer::on_session_moved(IpcSession& session) {
  turns_.want(session.credentials().uid, session.number());
}

void ControlServer::count(IpcSession::Counted what) {
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
bool ControlServer::serve(ClientNumber client) {
  IpcSession* session = find(client);
  if (session == nullptr) return false;
  const bool more = session->work();
  const bool ends = session->state() == IpcSession::State::kEnding || session->state() == IpcSession::State::kGone;
  if (!ends) return owner_.work_beside(*session) || more;
  if (!owner_.take_back(*session)) return true;
  session->end();
  if (session->state() != IpcSession::State::kGone) return true;
  remove(*session);
  return false;
}

void ControlServer::remove(IpcSession& session) {
  spdlog::debug("client={} name={} gone", session.number(), log_quote(session.name()));
  const auto user = users_.find(session.credentials().uid);
  if (--user->second == 0) users_.erase(user);
  owner_.client_gone(session);
  sessions_.erase(session.number());
  if (shut_down_done_ && sessions_.empty()) later_.arm_in(proto::Duration{0});
}

// ---- the end ----

void ControlServer::shut_down(std::function<void()> done) {
  shut_down_done_ = std::move(done);
  accept_poll_.reset();
  listener_.reset();  // whoever waits to be accepted sees the end, too
  for (auto& [number, session] : sessions_) session->close();
  later_.arm_in(proto::Duration{0});
}

}  // namespace connd::daemon
