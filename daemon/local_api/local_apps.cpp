// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/local_apps.h"

#include <algorithm>

#include "daemon/system/fd_limits.h"

namespace connd::daemon {
namespace {

/// What is said here of an application is read by the peer, to whom it is the peer's.
std::string as_the_peer_reads(std::string_view text) {
  constexpr std::string_view kOurs = "the application";
  if (!text.starts_with(kOurs)) return std::string(text);
  return "the peer's application" + std::string(text.substr(kOurs.size()));
}

/// Of the channels that wait for a taker's fds to go, so many are accepted in one piece of work.
constexpr std::size_t kHeldPerPiece = 16;
/// Of what a taker has that goes: so much is taken back in one piece of work.
constexpr std::size_t kTakenBackPerPiece = 8;

}  // namespace

LocalApps::LocalApps(const Context& context)
    : context_(context),
      listeners_(context.settings.listeners, context.settings.reservations, context.settings.places),
      asked_(context.settings.max_asked_per_client),
      held_(context.settings.max_asked_per_client),
      timer_(context.loop, [this] { expire(); }) {}

void LocalApps::settings_changed() {
  listeners_.set_reservations(context_.settings.reservations);
  listeners_.set_places(context_.settings.places);
}

// ---- takers ----

void LocalApps::join(ChannelTaker& taker) {
  takers_.emplace(taker.number(), &taker);
}

ChannelTaker* LocalApps::find(ClientNumber taker) const {
  const auto it = takers_.find(taker);
  return it == takers_.end() ? nullptr : it->second;
}

bool LocalApps::take_back(ClientNumber taker) {
  if (!listeners_.remove_client(taker, kTakenBackPerPiece)) return false;
  for (AskedRequests* table : {&asked_, &held_}) {
    for (const proto::ChannelHandle channel : table->of_client(taker, kTakenBackPerPiece)) {
      table->take(channel);
      refuse(channel, proto::Reason::kDeclined, "the application has gone");
    }
  }
  arm_timer();
  context_.attachments.abandon_all(taker);
  if (asked_.count_of(taker) + held_.count_of(taker) > 0) return false;
  return owners_.orphan(taker, kTakenBackPerPiece);
}

bool LocalApps::fresh(ClientNumber taker) const {
  return owners_.count_of(taker) == 0 && !listeners_.has_any(taker) && asked_.count_of(taker) == 0 &&
         held_.count_of(taker) == 0;
}

// ---- whose channels are whose ----

bool LocalApps::has_all_channels(const ChannelTaker& taker) const {
  const ClientNumber client = taker.number();
  const std::size_t waiting = asked_.count_of(client) + held_.count_of(client);
  return owners_.count_of(client) + context_.opens.count_of(client) + waiting >=
         context_.settings.max_channels_per_client;
}

bool LocalApps::user_has_all_channels(const ChannelTaker& taker) const {
  const uid_t uid = taker.credentials().uid;
  const std::size_t waiting = asked_.count_of_user(uid) + held_.count_of_user(uid);
  return !taker.admin() && owners_.count_of_user(uid) + context_.opens.of_user(uid).opens + waiting >=
                               context_.settings.places.share(context_.settings.max_channels);
}

void LocalApps::own(const ChannelTaker& taker, proto::ChannelHandle channel, OwnedChannel owned) {
  owned.client = taker.number();
  owned.uid = taker.credentials().uid;
  owned.pid = taker.credentials().pid;
  context_.feed.channel_opened(channel, owned);
  owners_.add(channel, std::move(owned));
}

void LocalApps::own_nobodys(const OpenedChannel& opened) {
  OwnedChannel owned;
  owned.device = opened.device;
  owned.account = opened.account;
  owned.uri = opened.uri;
  owned.outgoing = true;
  context_.feed.channel_opened(opened.channel, owned);
  owners_.add(opened.channel, std::move(owned));
}

const OwnedChannel* LocalApps::visible(const ChannelTaker& taker, proto::ChannelHandle channel) const {
  const OwnedChannel* owned = owners_.find(channel);
  if (owned == nullptr || taker.admin()) return owned;
  return owned->client == taker.number() ? owned : nullptr;
}

// ---- what peers ask for ----

void LocalApps::refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  if (reason == proto::Reason::kBusy) ++refused_busy_;
  if (manager_ != nullptr) manager_->channels().refuse(channel, reason, as_the_peer_reads(text));
}

void LocalApps::on_channel_requested(const IncomingChannel& request) {
  const Listener* listener = listeners_.match(request.uri);
  // First, so that a peer which is not allowed does not learn who listens for what.
  const bool trusted =
      request.trust == Trust::kAllowed || (listener != nullptr && listener->takes_unknown(request.device));
  if (!trusted || (listener != nullptr && !listener->is_for(request.device, request.account)))
    return refuse(request.channel, proto::Reason::kNotPermitted, "the peer does not let this device open that");
  ChannelTaker* taker = listener != nullptr ? find(listener->client) : nullptr;
  if (taker == nullptr || !taker->takes_channels()) {
    return refuse(request.channel, proto::Reason::kNoListener, {});
  }
  const ControlTurns::Charged charged(context_.turns, taker->credentials().uid);
  if (has_all_channels(*taker)) {
    return refuse(request.channel, proto::Reason::kBusy, "the application has as many channels as it may");
  }
  if (user_has_all_channels(*taker)) {
    return refuse(request.channel, proto::Reason::kBusy, "the application's user has as many channels as it may");
  }
  if (taker->congested()) return refuse(request.channel, proto::Reason::kBusy, "the application does not read");
  if (listener->mode == ipc::ListenMode::kAsk) return ask(*taker, *listener, request);
  const bool waits = held_.count_of(taker->number()) > 0 || !room_for_another_fd(*taker);
  waits && !listener->attach ? hold(*taker, *listener, request) : accept_at_once(*taker, *listener, request);
}

/// Each channel that is accepted has two descriptors here until its app's end has been sent. A peer that asks for
/// hundreds at once would take up to twice as many as there may be; so where these become few the later ones wait.
bool LocalApps::room_for_another_fd(const ChannelTaker& taker) const {
  if (taker.unsent_fds() < FdLimits::kTransient) return true;
  std::size_t used = manager_->channels().size();
  for (const auto& [number, other] : takers_) used += other->unsent_fds();
  return used < context_.settings.max_channels;
}

AskedRequest LocalApps::waiting(const ChannelTaker& taker, const Listener& listener,
                                const IncomingChannel& request) const {
  return {request, taker.number(), listener.number, context_.loop.now() + context_.settings.ask_time,
          taker.credentials().uid};
}

void LocalApps::hold(const ChannelTaker& taker, const Listener& listener, const IncomingChannel& request) {
  if (!held_.add(waiting(taker, listener, request))) {
    return refuse(request.channel, proto::Reason::kBusy, "the application has too many channels to take");
  }
  arm_timer();
}

bool LocalApps::accept_held(ChannelTaker& taker) {
  std::size_t taken = 0;
  for (; taken < kHeldPerPiece && manager_ != nullptr && room_for_another_fd(taker); ++taken) {
    const auto next = held_.of_client(taker.number(), 1);
    if (next.empty() || !taker.takes_channels()) break;
    const auto held = held_.take(next.front());
    arm_timer();
    const Listener* listener = listeners_.find(held->listener);
    if (listener == nullptr) {
      refuse(held->incoming.channel, proto::Reason::kDeclined, "the application listens no more");
    } else {
      accept_at_once(taker, *listener, held->incoming);
    }
  }
  return taken > 0;
}

void LocalApps::accept_at_once(ChannelTaker& taker, const Listener& listener, const IncomingChannel& request) {
  if (listener.attach && context_.attachments.no_room(taker)) {
    return refuse(request.channel, proto::Reason::kBusy, "the application has too many channels to fetch");
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
  if (listener.attach) opened.token = context_.attachments.make(taker, request.channel);
  own(taker, request.channel, {0, 0, 0, request.device, request.account, request.uri, false});
  taker.channel_opened(opened, std::move(std::get<ipc::Fd>(accepted)));
}

void LocalApps::ask(ChannelTaker& taker, const Listener& listener, const IncomingChannel& request) {
  if (!asked_.add(waiting(taker, listener, request))) {
    return refuse(request.channel, proto::Reason::kBusy, "the application has too many requests to answer");
  }
  arm_timer();
  taker.channel_requested({listener.number, request.channel, request.device.hex(), request.account.hex(), request.uri});
}

std::optional<AskedRequest> LocalApps::take_asked(ClientNumber taker, proto::ChannelHandle channel) {
  const AskedRequest* asked = asked_.find(channel);
  if (asked == nullptr || asked->client != taker) return std::nullopt;
  auto taken = asked_.take(channel);
  arm_timer();
  return taken;
}

void LocalApps::remove_listener(ListenerNumber number) {
  const Listener* listener = listeners_.find(number);
  if (listener == nullptr) return;
  const ClientNumber client = listener->client;
  listeners_.remove(number);
  for (AskedRequests* table : {&asked_, &held_}) {
    for (const proto::ChannelHandle channel : table->of_listener(client, number)) {
      table->take(channel);
      refuse(channel, proto::Reason::kDeclined, "the application listens no more");
    }
  }
  arm_timer();
}

// ---- time, and ends ----

void LocalApps::arm_timer() {
  timer_.arm(std::min(asked_.next_deadline(), held_.next_deadline()));
}

void LocalApps::expire() {
  for (const proto::ChannelHandle channel : asked_.expired(context_.loop.now())) {
    refuse(channel, proto::Reason::kDeclined, "the application did not answer");
    on_channel_request_cancelled(channel, proto::Reason::kTimedOut);
  }
  for (const proto::ChannelHandle channel : held_.expired(context_.loop.now())) {
    held_.take(channel);
    refuse(channel, proto::Reason::kBusy, "the application does not take its channels");
  }
  arm_timer();
}

void LocalApps::on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) {
  const auto asked = asked_.take(channel);
  if (!asked) {
    if (held_.take(channel)) arm_timer();  // nobody has heard of it
    return;
  }
  arm_timer();
  if (ChannelTaker* taker = find(asked->client)) taker->channel_request_cancelled({channel, reason});
}

void LocalApps::on_channel_closed(const ChannelEnd& end) {
  context_.attachments.forget(end.channel);
  const auto owned = owners_.take(end.channel);
  if (!owned) return;
  context_.feed.channel_closed(end, *owned);
  ChannelTaker* taker = find(owned->client);
  if (taker == nullptr) return;
  const ControlTurns::Charged charged(context_.turns, owned->uid);
  ipc::ChannelClosed closed{end.channel, end.reason, end.bytes_in, end.bytes_out, std::nullopt};
  if (!end.text.empty()) closed.detail = end.text;
  taker->channel_closed(closed);
}

/// Its owner's control connection may be far behind, where the owner or its user asks for much.
bool LocalApps::finish_may_come(proto::ChannelHandle channel) const {
  const OwnedChannel* owned = owners_.find(channel);
  const ChannelTaker* taker = owned != nullptr ? find(owned->client) : nullptr;
  return taker != nullptr && taker->behind();
}

}  // namespace connd::daemon
