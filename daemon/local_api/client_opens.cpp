// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/client_opens.h"

#include <utility>

namespace connd::daemon {
namespace {

/// Of the opens of one that goes, so many are given up in one piece of work.
constexpr std::size_t kGivenUpPerPiece = 8;

ipc::Error open_error(const OpenError& error, const std::string& peer) {
  // The table's own text says nothing new as a detail.
  const bool told = error.text == proto::reason_info(error.reason).text;
  ipc::Error out = ipc::make_error(error.reason, {}, told ? std::string() : error.text);
  out.peer = peer;
  return out;
}

ipc::Error limit(std::string text) {
  return ipc::make_error(ipc::Reason::kResourceLimit, std::move(text));
}

}  // namespace

/// Why it may not open that.
std::optional<ipc::Error> ClientOpens::refusal(const ChannelTaker& opener, const OpenRequest& request,
                                               const std::string& peer) {
  // A unique channel of that name that the peer opens at the same moment would be this one's, not the listener's.
  if (request.unique && !context_.apps.listeners().permitted(request.uri, opener.credentials())) {
    return ipc::make_error(ipc::Reason::kNotPermitted, "this uri is reserved to another user or group");
  }
  if (request.options.detached) {
    if (auto full = context_.attachments.no_room(opener)) return full;
  }
  if (context_.pending.count_of(opener.number()) >= ipc::kMaxRequestsInFlight) {
    return limit("too many requests wait for an answer");
  }
  if (context_.apps.has_all_channels(opener)) return limit("this client has as many channels as it may");
  if (opener.admin() || !context_.settings.places.shared()) return std::nullopt;
  return no_share(opener, peer, request.uri.size());
}

/// Why its user may not open one more channel, with a name of so many bytes.
std::optional<ipc::Error> ClientOpens::no_share(const ChannelTaker& opener, const std::string& peer, std::size_t name) {
  const IpcSettings& settings = context_.settings;
  const UserPlaces& places = settings.places;
  const auto share = [&](const char* what, std::size_t all) { return limit(share_text(what, places.share(all), all)); };
  if (context_.apps.user_has_all_channels(opener)) return share("channels", settings.max_channels);
  const uid_t uid = opener.credentials().uid;
  const PendingOpens::Use& use = context_.pending.of_user(uid);
  if (use.opens >= places.share(settings.max_pending_opens)) return share("opens", settings.max_pending_opens);
  if (use.name_bytes + name > places.share(settings.max_open_name_bytes)) {
    return share("bytes of opens' names", settings.max_open_name_bytes);
  }
  // Each may be a connection that is being made.
  const bool one_more = !use.to.contains(peer);
  if (one_more && use.to.size() >= places.share(settings.max_connections)) {
    return share("peers to open to at once", settings.max_connections);
  }
  if (!paces_.may_open(uid, context_.loop.now())) {
    return ipc::make_error(ipc::Reason::kBusy, "this user opens, or gives up, more than its share of " +
                                                   std::to_string(UserPaces::kOpensPerSecond) + " a second, or " +
                                                   std::to_string(UserPaces::kCancelsPerSecond));
  }
  return std::nullopt;
}

ipc::Outcome<void> ClientOpens::start(const ChannelTaker& opener, const ipc::Json& id, OpenRequest request, Done done) {
  std::string peer = request.account ? request.account->hex() : request.peer.hex();
  if (auto refused = refusal(opener, request, peer)) return *std::move(refused);
  const PendingOpens::Key key =
      context_.pending.add({opener.number(), opener.credentials().uid, id, peer, request.uri.size(), 0});
  const auto started = manager_->open(std::move(request), [this, key, done = std::move(done)](OpenResult result) {
    opened(key, std::move(result), done);
  });
  if (const auto* error = std::get_if<OpenError>(&started)) {
    (void)context_.pending.take(key);
    return open_error(*error, peer);
  }
  context_.pending.set_number(key, std::get<OpenNumber>(started));
  return {};
}

bool ClientOpens::cancel(const ChannelTaker& opener, const ipc::Json& id) {
  const PendingOpen* open = context_.pending.find(opener.number(), id);
  return open != nullptr && give_up(opener, open->open);
}

bool ClientOpens::give_up(const ChannelTaker& opener, OpenNumber open) {
  if (manager_ == nullptr || !manager_->cancel_open(open, proto::Reason::kCancelled)) return false;
  if (!opener.admin() && context_.settings.places.shared()) {
    paces_.cancelled(opener.credentials().uid, context_.loop.now());
  }
  return true;
}

bool ClientOpens::take_back(const ChannelTaker& opener) {
  for (std::size_t left = kGivenUpPerPiece; left > 0; --left) {
    const auto key = context_.pending.any_of(opener.number());
    if (!key) return true;
    (void)give_up(opener, context_.pending.find(*key)->open);
    (void)context_.pending.take(*key);  // where nobody answers it
  }
  return context_.pending.count_of(opener.number()) == 0;
}

void ClientOpens::opened(PendingOpens::Key key, OpenResult result, const Done& done) {
  const auto open = context_.pending.take(key);
  const ChannelTaker* const opener = open ? context_.apps.find(open->client) : nullptr;
  auto* const channel = std::get_if<OpenedChannel>(&result);
  if (opener == nullptr) {
    if (channel == nullptr || channel->joined) return;
    context_.apps.own_nobodys(*channel);
    if (!channel->fd) context_.attachments.abandon(channel->channel, "the application has gone");
    return;
  }
  const ControlTurns::Charged charged(context_.turns, open->uid);
  if (channel == nullptr) return done(open_error(std::get<OpenError>(result), open->peer));
  done(grant(*opener, std::move(*channel), open->peer));
}

ClientOpens::Answer ClientOpens::grant(const ChannelTaker& opener, OpenedChannel opened, const std::string& peer) {
  Granted granted{{opened.channel, opened.device.hex(), opened.account.hex(), opened.half_close, {}}, {}};
  const bool by_token = !opened.joined && !opened.fd;
  if (by_token) {
    if (auto full = context_.attachments.no_room(opener)) {
      context_.apps.own_nobodys(opened);
      context_.attachments.abandon(opened.channel, full->message);
      return *std::move(full);
    }
    granted.result.token = context_.attachments.make(opener, opened.channel);
  }
  if (!opened.joined) {
    context_.apps.own(opener, opened.channel, {0, 0, 0, opened.device, opened.account, std::move(opened.uri), true});
    granted.fd = std::move(opened.fd);
    return granted;
  }
  const OwnedChannel* owned = context_.apps.owners().find(opened.channel);
  if (owned != nullptr && owned->client == opener.number()) return granted;
  const bool others = owned != nullptr || context_.apps.asks_about(opened.channel);
  ipc::Error error = ipc::make_error(others ? ipc::Reason::kDuplicate : ipc::Reason::kReset);
  error.peer = peer;
  return error;
}

}  // namespace connd::daemon
