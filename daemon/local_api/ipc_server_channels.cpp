// SPDX-License-Identifier: GPL-3.0-or-later
// Channels and questions: what the ConnectionManager tells and asks, and which client it is for.
#include <algorithm>

#include "daemon/local_api/api.h"
#include "daemon/local_api/ipc_server.h"
#include "daemon/system/fd_limits.h"

namespace connd::daemon {
namespace {

ipc::Error open_error(const OpenError& error, const std::string& peer) {
  // The table's own text says nothing new as a detail.
  const bool told = error.text == proto::reason_info(error.reason).text;
  ipc::Error out = ipc::make_error(error.reason, {}, told ? std::string() : error.text);
  out.peer = peer;
  return out;
}

/// What is said here of an application is read by the peer, to whom it is the peer's.
std::string as_the_peer_reads(std::string_view text) {
  constexpr std::string_view kOurs = "the application";
  if (!text.starts_with(kOurs)) return std::string(text);
  return "the peer's application" + std::string(text.substr(kOurs.size()));
}

/// What a ChannelInfo takes in JSON at least, beside its uri: member names and ids.
constexpr std::size_t kLeastChannelInfo = 200;

/// Of the channels that wait for a client's fds to go, so many are accepted in one piece of work.
constexpr std::size_t kHeldPerPiece = 16;

double age(proto::TimePoint since, proto::TimePoint now) {
  return std::chrono::duration<double>(now - since).count();
}

}  // namespace

/// What it opens, and what it was asked about and may accept, counts.
bool IpcServer::has_all_channels(IpcSession& session) const {
  const std::size_t owned = owners_.count_of(session.number());
  const std::size_t waiting = asked_.count_of(session.number()) + held_.count_of(session.number());
  return owned + session.opens().size() + waiting >= settings_.max_channels_per_client;
}

/// Administrators have no share: they may close others' channels.
bool IpcServer::user_has_all_channels(const IpcSession& session) const {
  const uid_t uid = session.credentials().uid;
  const auto user = users_.find(uid);
  const std::size_t opens = user != users_.end() ? user->second.opens : 0;
  const std::size_t waiting = asked_.count_of_user(uid) + held_.count_of_user(uid);
  return !session.admin() &&
         owners_.count_of_user(uid) + opens + waiting >= settings_.places.share(settings_.max_channels);
}

// ---- opens ----

/// Why a client may not open one more channel, with a name of so many bytes.
std::optional<ipc::Error> IpcServer::no_open(IpcSession& session, const std::string& peer, std::size_t name) {
  const auto full = [](std::string text) { return ipc::make_error(ipc::Reason::kResourceLimit, std::move(text)); };
  if (session.opens().size() >= ipc::kMaxRequestsInFlight) return full("too many requests wait for an answer");
  if (has_all_channels(session)) return full("this client has as many channels as it may");
  const UserPlaces& places = settings_.places;
  if (session.admin() || !places.shared()) return std::nullopt;
  const auto share = [&](const char* what, std::size_t all) { return full(share_text(what, places.share(all), all)); };
  if (user_has_all_channels(session)) return share("channels", settings_.max_channels);
  const auto user = users_.find(session.credentials().uid);
  if (user == users_.end()) return std::nullopt;
  const UserUse& use = user->second;
  if (use.opens >= places.share(settings_.max_pending_opens)) return share("opens", settings_.max_pending_opens);
  if (use.open_name_bytes + name > places.share(settings_.max_open_name_bytes)) {
    return share("bytes of opens' names", settings_.max_open_name_bytes);
  }
  // Each may be a connection that is being made.
  const bool one_more = !use.opens_to.contains(peer);
  if (one_more && use.opens_to.size() >= places.share(settings_.max_connections)) {
    return share("peers to open to at once", settings_.max_connections);
  }
  if (!paces_.may_open(session.credentials().uid, context_.loop.now())) {
    return ipc::make_error(ipc::Reason::kBusy, "this user opens, or gives up, more than its share of " +
                                                   std::to_string(UserPaces::kOpensPerSecond) + " a second, or " +
                                                   std::to_string(UserPaces::kCancelsPerSecond));
  }
  return std::nullopt;
}

void IpcServer::cancelled(const IpcSession& session) {
  if (!session.admin() && settings_.places.shared()) paces_.cancelled(session.credentials().uid, context_.loop.now());
}

void IpcServer::remember_open(IpcSession& session, std::uint64_t key, IpcSession::PendingOpen open) {
  UserUse& use = users_[session.credentials().uid];
  ++use.opens;
  use.open_name_bytes += open.name_bytes;
  ++use.opens_to[open.peer];
  session.opens().emplace(key, std::move(open));
}

/// The open, taken out; nothing when there is none.
std::optional<IpcSession::PendingOpen> IpcServer::forget_open(IpcSession& session, std::uint64_t key) {
  auto entry = session.opens().extract(key);
  if (entry.empty()) return std::nullopt;
  UserUse& use = users_.at(session.credentials().uid);
  --use.opens;
  use.open_name_bytes -= entry.mapped().name_bytes;
  const auto to = use.opens_to.find(entry.mapped().peer);
  if (--to->second == 0) use.opens_to.erase(to);
  return std::move(entry.mapped());
}

ipc::Outcome<void> IpcServer::start_open(IpcSession& session, const ipc::Json& id, OpenRequest request) {
  const std::string peer = request.account ? request.account->hex() : request.peer.hex();
  // A unique channel of that name that the peer opens at the same moment would be this client's, not the listener's.
  if (request.unique && !listeners_.permitted(request.uri, session.credentials())) {
    return ipc::make_error(ipc::Reason::kNotPermitted, "this uri is reserved to another user or group");
  }
  if (request.options.detached) {
    if (auto full = no_token(session)) return *std::move(full);
  }
  if (auto refused = no_open(session, peer, request.uri.size())) return *std::move(refused);
  const std::uint64_t key = next_open_++;
  remember_open(session, key, {id, 0, peer, request.uri.size()});
  const auto started = manager_->open(std::move(request), [this, client = session.number(), key](OpenResult result) {
    open_done(client, key, std::move(result));
  });
  if (const auto* error = std::get_if<OpenError>(&started)) {
    (void)forget_open(session, key);
    return open_error(*error, peer);
  }
  if (const auto it = session.opens().find(key); it != session.opens().end()) {
    it->second.open = std::get<OpenNumber>(started);
  }
  return {};
}

void IpcServer::open_done(ClientNumber client, std::uint64_t key, OpenResult result) {
  IpcSession* session = find(client);
  auto* opened = std::get_if<OpenedChannel>(&result);
  if (session == nullptr || !session->opens().contains(key)) {
    if (opened == nullptr || opened->joined) return;
    own_nobodys(*opened);
    if (!opened->fd) abandon(opened->channel, "the application has gone");
    return;
  }
  const ControlTurns::Charged charged(turns_, session->credentials().uid);
  const auto open = forget_open(*session, key);
  if (opened != nullptr) return answer_open(*session, *open, std::move(*opened));
  session->fail(open->id, open_error(std::get<OpenError>(result), open->peer));
}

void IpcServer::answer_open(IpcSession& session, const IpcSession::PendingOpen& open, OpenedChannel opened) {
  ipc::ChannelOpenResult result{opened.channel, opened.device.hex(), opened.account.hex(), opened.half_close, {}};
  const bool by_token = !opened.joined && !opened.fd;
  if (by_token) {
    if (const auto full = no_token(session)) {
      own_nobodys(opened);
      abandon(opened.channel, full->message);
      return session.fail(open.id, *full);
    }
    result.token = new_token(session, opened.channel);
  }
  if (!opened.joined) {
    own(session, opened.channel, {0, 0, 0, opened.device, opened.account, std::move(opened.uri), true});
    return session.reply(open.id, ipc::write_members(result), std::move(opened.fd));
  }
  const OwnedChannel* owned = owners_.find(opened.channel);
  if (owned != nullptr && owned->client == session.number()) {
    return session.reply(open.id, ipc::write_members(result));
  }
  const auto reason =
      owned != nullptr || asked_.find(opened.channel) != nullptr || held_.find(opened.channel) != nullptr
          ? ipc::Reason::kDuplicate
          : ipc::Reason::kReset;
  ipc::Error error = ipc::make_error(reason);
  error.peer = open.peer;
  session.fail(open.id, error);
}

/// The client went while its channel was being opened. The fd closes, and with it the channel.
void IpcServer::own_nobodys(const OpenedChannel& opened) {
  OwnedChannel owned;
  owned.device = opened.device;
  owned.account = opened.account;
  owned.uri = opened.uri;
  owned.outgoing = true;
  report_opened(opened.channel, owned);
  owners_.add(opened.channel, std::move(owned));
}

void IpcServer::own(IpcSession& session, proto::ChannelHandle channel, OwnedChannel owned) {
  owned.client = session.number();
  owned.uid = session.credentials().uid;
  owned.pid = session.credentials().pid;
  report_opened(channel, owned);
  owners_.add(channel, std::move(owned));
}

const OwnedChannel* IpcServer::visible_channel(const IpcSession& session, proto::ChannelHandle channel) const {
  const OwnedChannel* owned = owners_.find(channel);
  if (owned == nullptr || session.admin()) return owned;
  return owned->client == session.number() ? owned : nullptr;
}

// ---- channels of peers ----

void IpcServer::refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  if (reason == proto::Reason::kBusy) ++totals_.limits_hit;
  if (manager_ != nullptr) manager_->channels().refuse(channel, reason, as_the_peer_reads(text));
}

void IpcServer::on_channel_requested(const IncomingChannel& request) {
  const Listener* listener = listeners_.match(request.uri);
  // First, so that a peer which is not allowed does not learn who listens for what.
  const bool trusted =
      request.trust == Trust::kAllowed || (listener != nullptr && listener->takes_unknown(request.device));
  if (!trusted || (listener != nullptr && !listener->is_for(request.device, request.account)))
    return refuse(request.channel, proto::Reason::kNotPermitted, "the peer does not let this device open that");
  IpcSession* session = listener != nullptr ? find(listener->client) : nullptr;
  if (session == nullptr || session->state() != IpcSession::State::kOpen) {
    return refuse(request.channel, proto::Reason::kNoListener, {});
  }
  const ControlTurns::Charged charged(turns_, session->credentials().uid);
  if (has_all_channels(*session)) {
    return refuse(request.channel, proto::Reason::kBusy, "the application has as many channels as it may");
  }
  if (user_has_all_channels(*session)) {
    return refuse(request.channel, proto::Reason::kBusy, "the application's user has as many channels as it may");
  }
  if (session->congested()) return refuse(request.channel, proto::Reason::kBusy, "the application does not read");
  if (listener->mode == ipc::ListenMode::kAsk) return ask(*session, *listener, request);
  const bool waits = held_.count_of(session->number()) > 0 || !room_for_another_fd(*session);
  waits && !listener->attach ? hold(*session, *listener, request) : accept_at_once(*session, *listener, request);
}

/// Each channel that is accepted has two descriptors here until its app's end has been sent. A peer that asks for
/// hundreds at once would take up to twice as many as there may be; so where these become few the later ones wait.
bool IpcServer::room_for_another_fd(const IpcSession& session) const {
  if (session.unsent_fds() < FdLimits::kTransient) return true;
  std::size_t used = manager_->channels().size();
  for (const auto& [number, other] : sessions_) used += other->unsent_fds();
  return used < settings_.max_channels;
}

void IpcServer::hold(const IpcSession& session, const Listener& listener, const IncomingChannel& request) {
  AskedRequest held{request, session.number(), listener.number, context_.loop.now() + settings_.ask_time,
                    session.credentials().uid};
  if (!held_.add(std::move(held))) {
    return refuse(request.channel, proto::Reason::kBusy, "the application has too many channels to take");
  }
  arm_ask_timer();
}

/// Those for which there is room now, a piece of them. True: there is something to write, and maybe room for more.
bool IpcServer::accept_held(IpcSession& session) {
  std::size_t taken = 0;
  for (; taken < kHeldPerPiece && manager_ != nullptr && room_for_another_fd(session); ++taken) {
    const auto next = held_.of_client(session.number(), 1);
    if (next.empty() || session.state() != IpcSession::State::kOpen) break;
    const auto held = held_.take(next.front());
    arm_ask_timer();
    const Listener* listener = listeners_.find(held->listener);
    if (listener == nullptr) {
      refuse(held->incoming.channel, proto::Reason::kDeclined, "the application listens no more");
    } else {
      accept_at_once(session, *listener, held->incoming);
    }
  }
  return taken > 0;
}

void IpcServer::arm_ask_timer() {
  ask_timer_.arm(std::min(asked_.next_deadline(), held_.next_deadline()));
}

void IpcServer::accept_at_once(IpcSession& session, const Listener& listener, const IncomingChannel& request) {
  if (listener.attach) {
    if (no_token(session)) {
      return refuse(request.channel, proto::Reason::kBusy, "the application has too many channels to fetch");
    }
  }
  auto accepted = manager_->channels().accept(request.channel, {listener.strict_end, listener.attach});
  if (!std::holds_alternative<ipc::Fd>(accepted)) return;  // the peer took it back, or was told why not
  ipc::ChannelOpened opened{listener.number,
                            request.channel,
                            request.device.hex(),
                            request.account.hex(),
                            request.uri,
                            request.half_close,
                            {}};
  if (listener.attach) opened.token = new_token(session, request.channel);
  own(session, request.channel, {0, 0, 0, request.device, request.account, request.uri, false});
  session.notify("channel.opened", ipc::write_members(opened), std::move(std::get<ipc::Fd>(accepted)));
}

void IpcServer::ask(IpcSession& session, const Listener& listener, const IncomingChannel& request) {
  AskedRequest asked{request, session.number(), listener.number, context_.loop.now() + settings_.ask_time,
                     session.credentials().uid};
  if (!asked_.add(std::move(asked))) {
    return refuse(request.channel, proto::Reason::kBusy, "the application has too many requests to answer");
  }
  arm_ask_timer();
  session.notify("channel.request",
                 ipc::write_members(ipc::ChannelRequested{listener.number, request.channel, request.device.hex(),
                                                          request.account.hex(), request.uri}));
}

std::optional<AskedRequest> IpcServer::take_asked(const IpcSession& session, proto::ChannelHandle channel) {
  const AskedRequest* asked = asked_.find(channel);
  if (asked == nullptr || asked->client != session.number()) return std::nullopt;
  auto taken = asked_.take(channel);
  arm_ask_timer();
  return taken;
}

void IpcServer::refuse_listener(ClientNumber client, ListenerNumber listener) {
  for (AskedRequests* table : {&asked_, &held_}) {
    for (const proto::ChannelHandle channel : table->of_listener(client, listener)) {
      table->take(channel);
      refuse(channel, proto::Reason::kDeclined, "the application listens no more");
    }
  }
  arm_ask_timer();
}

void IpcServer::expire_asked() {
  for (const proto::ChannelHandle channel : asked_.expired(context_.loop.now())) {
    refuse(channel, proto::Reason::kDeclined, "the application did not answer");
    on_channel_request_cancelled(channel, proto::Reason::kTimedOut);
  }
  for (const proto::ChannelHandle channel : held_.expired(context_.loop.now())) {
    held_.take(channel);
    refuse(channel, proto::Reason::kBusy, "the application does not take its channels");
  }
  arm_ask_timer();
}

void IpcServer::on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) {
  const auto asked = asked_.take(channel);
  if (!asked) {
    if (held_.take(channel)) arm_ask_timer();  // nobody has heard of it
    return;
  }
  arm_ask_timer();
  if (IpcSession* session = find(asked->client)) {
    session->notify("channel.request_cancelled", ipc::write_members(ipc::RequestCancelled{channel, reason}));
  }
}

void IpcServer::on_channel_closed(const ChannelEnd& end) {
  tokens_.forget(end.channel);
  const auto owned = owners_.take(end.channel);
  if (!owned) return;
  report_closed(end, *owned);
  IpcSession* session = find(owned->client);
  if (session == nullptr) return;
  const ControlTurns::Charged charged(turns_, owned->uid);
  ipc::ChannelClosed closed{end.channel, end.reason, end.bytes_in, end.bytes_out, std::nullopt};
  if (!end.text.empty()) closed.detail = end.text;
  session->notify("channel.closed", ipc::write_members(closed));
}

/// Its owner's control connection may be far behind, where the owner or its user asks for much.
bool IpcServer::finish_may_come(proto::ChannelHandle channel) const {
  const OwnedChannel* owned = owners_.find(channel);
  const IpcSession* session = owned != nullptr ? find(owned->client) : nullptr;
  return session != nullptr && session->behind();
}

// ---- connections of peers ----

bool IpcServer::register_policy(const IpcSession& session) {
  if (policy_owner_ != 0 && policy_owner_ != session.number()) return false;
  policy_owner_ = session.number();
  return true;
}

bool IpcServer::ask_connection(const Question& question) {
  IpcSession* session = find(policy_owner_);
  if (session == nullptr || session->state() != IpcSession::State::kOpen) return false;
  questions_.emplace(question.number, AskedConnection{question, context_.loop.now()});
  const std::string account = question.account ? question.account->hex() : std::string();
  session->notify("connection.request", ipc::write_members(ipc::ConnectionRequested{
                                            question.number, question.device.hex(), account, ipc::Trust::kUnknown}));
  return true;
}

void IpcServer::connection_question_over(std::uint64_t number) {
  if (questions_.erase(number) == 0) return;
  if (IpcSession* session = find(policy_owner_)) {
    session->notify("connection.request_cancelled",
                    ipc::write_members(ipc::RequestCancelled{number, proto::Reason::kTimedOut}));
  }
}

bool IpcServer::answer_connection(const IpcSession& session, std::uint64_t question, bool accept) {
  const bool owner = policy_owner_ == session.number();
  if ((!owner && !session.admin()) || questions_.erase(question) == 0) return false;
  if (IpcSession* asked = owner ? nullptr : find(policy_owner_)) {
    asked->notify("connection.request_cancelled",
                  ipc::write_members(ipc::RequestCancelled{question, proto::Reason::kCancelled}));
  }
  return manager_ != nullptr && manager_->answer_connection(question, accept);
}

ipc::ConnectionRequestsResult IpcServer::connection_requests() const {
  ipc::ConnectionRequestsResult out;
  out.registered = policy_owner_ != 0;
  const proto::TimePoint now = context_.loop.now();
  for (const auto& [number, asked] : questions_) {
    const Question& question = asked.question;
    out.requests.push_back({number, question.device.hex(), question.account ? question.account->hex() : std::string(),
                            age(asked.since, now), std::max(0.0, age(now, question.deadline))});
  }
  return out;
}

// ---- lists ----

std::vector<ipc::UserStatus> IpcServer::users() const {
  std::vector<ipc::UserStatus> users;
  for (const auto& [uid, use] : users_) {
    const UidShares::Account account = shares().account(uid);
    users.push_back({uid, use.clients, owners_.count_of_user(uid), use.opens, listeners_.count_of_user(uid),
                     std::chrono::duration<double>(account.spent).count(), account.held_back});
  }
  std::sort(users.begin(), users.end(), [](const auto& a, const auto& b) { return a.uid < b.uid; });
  return users;
}

ipc::ChannelInfo IpcServer::describe(const ChannelView& view, const OwnedChannel* owned, bool for_admin) const {
  ipc::ChannelInfo info;
  info.channel = view.channel;
  info.peer = view.device.hex();
  info.account = view.account.hex();
  info.uri = view.uri;
  info.direction = view.outgoing ? ipc::Direction::kOutgoing : ipc::Direction::kIncoming;
  info.state = ipc::ChannelState::kOpen;
  info.bytes_in = view.bytes_in;
  info.bytes_out = view.bytes_out;
  info.age_s = age(view.since, context_.loop.now());
  if (for_admin && owned != nullptr && owned->pid >= 0) {
    info.uid = owned->uid;
    info.pid = static_cast<std::uint64_t>(owned->pid);
  }
  return info;
}

ipc::Outcome<std::vector<ipc::ChannelInfo>> IpcServer::channels_seen_by(const IpcSession& session) const {
  std::vector<ipc::ChannelInfo> channels;
  if (manager_ == nullptr) return channels;
  std::size_t bytes = 0;
  const auto add = [&](const ChannelView& view) {
    bytes += kLeastChannelInfo + view.uri.size();
    if (bytes <= ipc::kMaxLineBytes) channels.push_back(describe(view, owners_.find(view.channel), session.admin()));
  };
  if (session.admin()) {
    manager_->channels().each(add);
  } else {
    for (const proto::ChannelHandle channel : owners_.channels_of(session.number()))
      manager_->channels().see(channel, add);
  }
  if (bytes > ipc::kMaxLineBytes) return answer_too_long();
  std::sort(channels.begin(), channels.end(), [](const auto& a, const auto& b) { return a.channel < b.channel; });
  return channels;
}

std::vector<ipc::ConnectionInfo> IpcServer::connections() const {
  std::vector<ipc::ConnectionInfo> connections;
  if (manager_ == nullptr) return connections;
  const proto::TimePoint now = context_.loop.now();
  manager_->each_connection([&](const ConnectionView& view) {
    ipc::ConnectionInfo& info = connections.emplace_back();
    info.direction = view.outgoing ? ipc::Direction::kOutgoing : ipc::Direction::kIncoming;
    info.age_s = age(view.since, now);
    if (view.socket == nullptr) {
      info.connection = view.attempt->id().number;
      info.peer = view.attempt->id().peer.hex();
      info.trust = api::to_api(context_.stores.trust.of(view.attempt->id().peer));
      return;
    }
    const MultiplexedSocket& socket = *view.socket;
    info.connection = socket.number();
    info.peer = socket.peer().hex();
    info.account = view.account.hex();
    info.state = view.closing ? ipc::ConnectionState::kClosing : ipc::ConnectionState::kConnected;
    info.trust = api::to_api(view.trust);
    info.channels = socket.channel_count();
    info.dialect = socket.link().native() ? ipc::Dialect::kNative : ipc::Dialect::kJami;
    info.local_address = socket.link().path().local;
    info.remote_address = socket.link().path().remote;
    if (const auto rtt = socket.mux_state()->round_trip()) {
      info.rtt_ms = std::chrono::duration<double, std::milli>(*rtt).count();
    }
    const Link::Counts counts = socket.link().counts();
    info.bytes_in = counts.bytes_in;
    info.bytes_out = counts.bytes_out;
  });
  std::sort(connections.begin(), connections.end(),
            [](const auto& a, const auto& b) { return a.connection < b.connection; });
  return connections;
}

}  // namespace connd::daemon
