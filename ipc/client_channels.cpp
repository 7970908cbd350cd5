// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/client_channels.h"

#include <utility>

namespace connd::ipc {
namespace {

/// What is wrong in it becomes U+FFFD.
std::string to_utf8(std::string text) {
  if (is_utf8(text)) return text;
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace

ClientChannels::ClientChannels(Calls& calls) : calls_(calls), link_(std::make_shared<detail::ClientLink>()) {
  link_->channels = this;
}

ClientChannels::~ClientChannels() {
  link_->channels = nullptr;
  for (auto& [handle, state] : channels_) {
    state->end = ChannelEnd{.reason = Reason::kConnectionLost, .detail = "the client was closed"};
  }
  for (auto& [number, state] : requests_) state->cancelled = true;
}

bool ClientChannels::notified(const Notification& note, Fd& fd) {
  if (note.method == "channel.opened") {
    take_opened(note.params, std::move(fd));
  } else if (note.method == "channel.request") {
    take_request(note.params);
  } else if (note.method == "channel.request_cancelled") {
    take_cancelled(note.params);
  } else if (note.method == "channel.closed") {
    take_closed(note.params);
  } else {
    return false;
  }
  return true;
}

void ClientChannels::connection_lost(const Error& error) {
  auto channels = std::exchange(channels_, {});
  for (auto& [handle, state] : channels) {
    state->end = ChannelEnd{.reason = Reason::kConnectionLost, .detail = error.message};
    tell_end_later(state);
  }
  for (auto& [number, state] : requests_) state->cancelled = true;
  requests_.clear();
  listeners_.clear();
}

// ---- opening

std::uint64_t ClientChannels::open(std::string_view peer, std::string_view uri, ChannelHandler handler,
                                   const Client::OpenOptions& options) {
  ChannelOpenParams params;
  params.peer = peer;
  if (!options.device.empty()) params.device = options.device;
  params.uri = uri;
  params.timeout = options.timeout_s;
  params.unique = options.unique;
  params.strict_end = true;
  if (!is_utf8(uri)) {
    calls_.defer([handler = std::move(handler)] { handler(make_error(Reason::kBadName)); });
    return 0;
  }
  return calls_.start("channel.open", write_members(params),
                      [this, uri = params.uri, handler = std::move(handler)](const Outcome<Json>& reply, Fd fd) {
                        handler(opened(reply, std::move(fd), uri));
                      });
}

ClientChannels::ChannelHandler ClientChannels::or_ended(std::string_view uri, Client::OpenedHandler handler) {
  auto ended = std::make_shared<detail::ChannelState>();  // the ChannelSocket is the other owner
  ended->link = link_;
  ended->uri = uri;
  return [ended = std::move(ended), handler = std::move(handler)](Outcome<ChannelSocket> channel) {
    if (channel) return handler(std::move(*channel));
    const Error& error = channel.error();
    ended->device = error.peer;
    ended->end = ChannelEnd{error.reason, 0, 0, error.detail};
    // The reason's own text is told anyway.
    if (error.detail.empty() && error.message != proto::reason_info(error.reason).text) {
      ended->end->detail = error.message;
    }
    handler(ChannelSocket(Fd(), ended));
  };
}

Outcome<ChannelSocket> ClientChannels::opened(const Outcome<Json>& reply, Fd fd, std::string uri) {
  if (!reply) return reply.error();
  const auto result = read_result<ChannelOpenResult>(*reply);
  if (!result) return make_error(Reason::kProtocolError, "jami-connd sent a malformed result", result.error().message);
  if (!fd) return make_error(Reason::kDuplicate, "this program has that channel open already");
  return make_channel(*result, std::move(uri), std::move(fd));
}

ChannelSocket ClientChannels::make_channel(const ChannelOpenResult& opened, std::string uri, Fd fd) {
  auto state = std::make_shared<detail::ChannelState>();
  state->link = link_;
  state->handle = opened.channel;
  state->device = opened.device;
  state->account = opened.account;
  state->uri = std::move(uri);
  state->half_close = opened.half_close;
  channels_[opened.channel] = state;
  return ChannelSocket(std::move(fd), std::move(state));
}

// ---- ending

void ClientChannels::finish(std::uint64_t handle) {
  // An error says that the channel has ended already, which channel.closed tells better.
  if (channels_.contains(handle)) calls_.tell("channel.finish", {{"channel", handle}});
}

void ClientChannels::take_closed(const Json& params) {
  const auto closed = read_result<ChannelClosed>(params);
  if (!closed) return calls_.bad_notification(closed.error());
  const auto it = channels_.find(closed->channel);
  if (it == channels_.end()) return;
  const std::shared_ptr<detail::ChannelState> state = std::move(it->second);
  channels_.erase(it);
  state->end = ChannelEnd{closed->reason, closed->bytes_in, closed->bytes_out, closed->detail.value_or("")};
  const auto handler = std::exchange(state->on_closed, nullptr);
  if (handler) handler(*state->end);
}

void ClientChannels::tell_end_later(const std::shared_ptr<detail::ChannelState>& state) {
  calls_.defer([state] {
    const auto handler = std::exchange(state->on_closed, nullptr);
    if (handler) handler(*state->end);
  });
}

void ClientChannels::wait_end(const detail::ChannelState& state, Calls::Milliseconds timeout) {
  calls_.run_until([&state] { return state.end.has_value(); }, timeout);
}

// ---- listening

void ClientChannels::listen(std::string_view uri, const Client::ListenOptions& options, ListenMode mode,
                            Listener listener, Client::ListenHandler done) {
  if (!is_utf8(uri)) {
    calls_.defer([done = std::move(done)] { done(make_error(Reason::kBadName)); });
    return;
  }
  ListenAddParams params;
  params.uri = uri;
  params.prefix = options.prefix;
  params.mode = mode;
  params.peers = options.peers;
  if (!options.only_peers.empty()) params.only_peers = options.only_peers;
  params.strict_end = true;
  calls_.start("listen.add", write_members(params),
               [this, listener = std::move(listener), done = std::move(done)](const Outcome<Json>& reply, const Fd&) {
                 if (!reply) return done(reply.error());
                 const auto handle = read_result<ListenerHandle>(*reply);
                 if (!handle) return done(handle.error());
                 listeners_[handle->listener] = listener;
                 done(handle->listener);
               });
}

Outcome<std::uint64_t> ClientChannels::listen(std::string_view uri, const Client::ListenOptions& options,
                                              ListenMode mode, Listener listener, Calls::Milliseconds timeout) {
  const auto slot = std::make_shared<std::optional<Outcome<std::uint64_t>>>();
  const auto given_up =
      std::make_shared<bool>(false);  // shared with the handler, which may run after this has returned
  listen(uri, options, mode, std::move(listener), [this, slot, given_up](Outcome<std::uint64_t> number) {
    if (!*given_up) {
      *slot = std::move(number);
    } else if (number) {
      stop_listening(*number);
    }
  });
  Outcome<std::uint64_t> number = calls_.wait(slot, timeout);
  *given_up = true;
  return number;
}

void ClientChannels::stop_listening(std::uint64_t listener) {
  if (listeners_.erase(listener) > 0) calls_.tell("listen.remove", {{"listener", listener}});
}

void ClientChannels::take_opened(const Json& params, Fd fd) {
  auto opened = read_result<ChannelOpened>(params);
  if (!opened) return calls_.bad_notification(opened.error());
  if (!fd)
    return calls_.bad_notification(
        make_error(Reason::kProtocolError, "jami-connd gave a channel without its descriptor"));
  ChannelSocket channel = make_channel({opened->channel, opened->peer, opened->account, opened->half_close},
                                       std::move(opened->uri), std::move(fd));
  const auto it = listeners_.find(opened->listener);
  // The listener was removed while this was on its way: nobody wants the channel, so it is aborted.
  if (it == listeners_.end()) return;
  const Client::OpenedHandler handler = it->second.on_opened;  // a copy: it may remove its own listener
  if (handler) handler(std::move(channel));
}

void ClientChannels::take_request(const Json& params) {
  auto requested = read_result<ChannelRequested>(params);
  if (!requested) return calls_.bad_notification(requested.error());
  auto state = std::make_shared<detail::RequestState>();
  state->link = link_;
  state->request = std::move(*requested);
  requests_[state->request.request] = state;
  IncomingRequest request(state);
  const auto it = listeners_.find(state->request.listener);
  if (it == listeners_.end()) return;  // `request` goes, and declines
  const Client::AskHandler handler = it->second.on_ask;
  if (handler) handler(std::move(request));
}

void ClientChannels::take_cancelled(const Json& params) {
  const auto cancelled = read_result<RequestCancelled>(params);
  if (!cancelled) return calls_.bad_notification(cancelled.error());
  const auto it = requests_.find(cancelled->request);
  if (it == requests_.end()) return;
  it->second->cancelled = true;
  requests_.erase(it);
}

void ClientChannels::accept(const std::shared_ptr<detail::RequestState>& state, ChannelHandler handler) {
  const std::uint64_t number = state->request.request;
  requests_.erase(number);
  if (state->cancelled) {
    calls_.defer([handler = std::move(handler)] { handler(make_error(Reason::kCancelled)); });
    return;
  }
  ChannelAcceptParams params{number, /*strict_end=*/true};
  calls_.start("channel.accept", write_members(params),
               [this, uri = state->request.uri, handler = std::move(handler)](const Outcome<Json>& reply, Fd fd) {
                 handler(opened(reply, std::move(fd), uri));
               });
}

void ClientChannels::decline(const std::shared_ptr<detail::RequestState>& state, std::string text) {
  const std::uint64_t number = state->request.request;
  requests_.erase(number);
  if (state->cancelled) return;
  ChannelDeclineParams params{number, std::nullopt};
  if (!text.empty()) params.reason = to_utf8(std::move(text));  // for people: no reason to leave the peer waiting
  calls_.tell("channel.decline", write_members(params));
}

}  // namespace connd::ipc
