// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// The part of Client that is about channels and listeners.
#include <utility>

#include "ipc/client.h"

namespace connd::ipc {
namespace {

using ChannelSlot = std::optional<Outcome<ChannelSocket>>;

/// What is wrong in it becomes U+FFFD.
std::string to_utf8(std::string text) {
  if (is_utf8(text)) return text;
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace

// ---- opening

std::uint64_t Client::start_open(std::string_view peer, std::string_view uri, ChannelHandler handler,
                                 OpenOptions options) {
  ChannelOpenParams params;
  params.peer = peer;
  if (!options.device.empty()) params.device = options.device;
  params.uri = uri;
  params.timeout = options.timeout_s;
  params.unique = options.unique;
  params.strict_end = true;
  if (!is_utf8(uri)) {
    deferred_.emplace_back([handler = std::move(handler)] { handler(make_error(Reason::kBadName)); });
    return 0;
  }
  return start("channel.open", write_members(params),
               [this, uri = params.uri, handler = std::move(handler)](const Outcome<Json>& reply, Fd fd) {
                 handler(opened(reply, std::move(fd), uri));
               });
}

void Client::connect_device(std::string_view peer, std::string_view uri, ChannelHandler handler, OpenOptions options) {
  start_open(peer, uri, std::move(handler), options);
}

Client::ChannelHandler Client::or_ended(std::string_view uri, OpenedHandler handler) {
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

Outcome<ChannelSocket> Client::open(std::string_view peer, std::string_view uri, OpenOptions options) {
  // Shared with the handler, which may still wait among the deferred ones when we give up.
  const auto slot = std::make_shared<ChannelSlot>();
  const auto id = start_open(
      peer, uri, [slot](Outcome<ChannelSocket> channel) { slot->emplace(std::move(channel)); }, options);
  const auto own = std::chrono::duration_cast<Milliseconds>(std::chrono::duration<double>(options.timeout_s));
  run_until([&slot] { return slot->has_value(); }, own + kOpenGrace);
  if (*slot) return std::move(**slot);
  pending_.erase(id);
  call("channel.cancel", {{"id", id}}, ReplyHandler{});
  return make_error(Reason::kTimedOut, "jami-connd did not answer in time");
}

Outcome<ChannelSocket> Client::opened(const Outcome<Json>& reply, Fd fd, std::string uri) {
  if (!reply) return reply.error();
  const auto result = read_result<ChannelOpenResult>(*reply);
  if (!result) return make_error(Reason::kProtocolError, "jami-connd sent a malformed result", result.error().message);
  if (!fd) return make_error(Reason::kDuplicate, "this program has that channel open already");
  return make_channel(*result, std::move(uri), std::move(fd));
}

ChannelSocket Client::make_channel(const ChannelOpenResult& opened, std::string uri, Fd fd) {
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

void Client::finish_channel(std::uint64_t handle) {
  // An error says that the channel has ended already, which channel.closed tells better.
  if (channels_.contains(handle)) call("channel.finish", {{"channel", handle}}, ReplyHandler{});
}

void Client::take_closed(const Json& params) {
  const auto closed = read_result<ChannelClosed>(params);
  if (!closed) return bad_notification(closed.error());
  const auto it = channels_.find(closed->channel);
  if (it == channels_.end()) return;
  const std::shared_ptr<detail::ChannelState> state = std::move(it->second);
  channels_.erase(it);
  state->end = ChannelEnd{closed->reason, closed->bytes_in, closed->bytes_out, closed->detail.value_or("")};
  const auto handler = std::exchange(state->on_closed, nullptr);
  if (handler) handler(*state->end);
}

void Client::tell_end_later(const std::shared_ptr<detail::ChannelState>& state) {
  deferred_.emplace_back([state] {
    const auto handler = std::exchange(state->on_closed, nullptr);
    if (handler) handler(*state->end);
  });
}

// ---- listening

void Client::add_listener(std::string_view uri, const ListenOptions& options, ListenMode mode, Listener listener,
                          ListenHandler done) {
  if (!is_utf8(uri)) {
    deferred_.emplace_back([done = std::move(done)] { done(make_error(Reason::kBadName)); });
    return;
  }
  ListenAddParams params;
  params.uri = uri;
  params.prefix = options.prefix;
  params.mode = mode;
  params.peers = options.peers;
  if (!options.only_peers.empty()) params.only_peers = options.only_peers;
  params.strict_end = true;
  call("listen.add", write_members(params),
       [this, listener = std::move(listener), done = std::move(done)](const Outcome<Json>& reply) {
         if (!reply) return done(reply.error());
         const auto handle = read_result<ListenerHandle>(*reply);
         if (!handle) return done(handle.error());
         listeners_[handle->listener] = listener;
         done(handle->listener);
       });
}

Client::ListenHandler Client::into_slot(const std::shared_ptr<ListenerSlot>& slot) {
  return [this, slot](Outcome<std::uint64_t> listener) {
    if (!*slot) {
      *slot = std::move(listener);
    } else if (listener) {
      stop_listening(*listener);  // it came after wait_for_listener had given up
    }
  };
}

Outcome<std::uint64_t> Client::wait_for_listener(const std::shared_ptr<ListenerSlot>& slot) {
  run_until([&slot] { return slot->has_value(); }, kCallTimeout);
  if (!*slot) *slot = make_error(Reason::kTimedOut, "jami-connd did not answer in time");
  return **slot;
}

void Client::listen(std::string_view uri, const ListenOptions& options, OpenedHandler handler, ListenHandler done) {
  add_listener(uri, options, ListenMode::kAuto, {std::move(handler), nullptr}, std::move(done));
}

void Client::listen_ask(std::string_view uri, const ListenOptions& options, AskHandler handler, ListenHandler done) {
  add_listener(uri, options, ListenMode::kAsk, {nullptr, std::move(handler)}, std::move(done));
}

Outcome<std::uint64_t> Client::listen(std::string_view uri, const ListenOptions& options, OpenedHandler handler) {
  const auto slot = std::make_shared<ListenerSlot>();  // shared with the handler, as in `open`
  listen(uri, options, std::move(handler), into_slot(slot));
  return wait_for_listener(slot);
}

Outcome<std::uint64_t> Client::listen_ask(std::string_view uri, const ListenOptions& options, AskHandler handler) {
  const auto slot = std::make_shared<ListenerSlot>();  // shared with the handler, as in `open`
  listen_ask(uri, options, std::move(handler), into_slot(slot));
  return wait_for_listener(slot);
}

void Client::stop_listening(std::uint64_t listener) {
  if (listeners_.erase(listener) > 0) call("listen.remove", {{"listener", listener}}, ReplyHandler{});
}

void Client::take_opened(const Json& params, Fd fd) {
  auto opened = read_result<ChannelOpened>(params);
  if (!opened) return bad_notification(opened.error());
  if (!fd)
    return bad_notification(make_error(Reason::kProtocolError, "jami-connd gave a channel without its descriptor"));
  ChannelSocket channel = make_channel({opened->channel, opened->peer, opened->account, opened->half_close},
                                       std::move(opened->uri), std::move(fd));
  const auto it = listeners_.find(opened->listener);
  // The listener was removed while this was on its way: nobody wants the channel, so it is aborted.
  if (it == listeners_.end()) return;
  const OpenedHandler handler = it->second.on_opened;  // a copy: it may remove its own listener
  if (handler) handler(std::move(channel));
}

void Client::take_request(const Json& params) {
  auto requested = read_result<ChannelRequested>(params);
  if (!requested) return bad_notification(requested.error());
  auto state = std::make_shared<detail::RequestState>();
  state->link = link_;
  state->request = std::move(*requested);
  requests_[state->request.request] = state;
  IncomingRequest request(state);
  const auto it = listeners_.find(state->request.listener);
  if (it == listeners_.end()) return;  // `request` goes, and declines
  const AskHandler handler = it->second.on_ask;
  if (handler) handler(std::move(request));
}

void Client::take_cancelled(const Json& params) {
  const auto cancelled = read_result<RequestCancelled>(params);
  if (!cancelled) return bad_notification(cancelled.error());
  const auto it = requests_.find(cancelled->request);
  if (it == requests_.end()) return;
  it->second->cancelled = true;
  requests_.erase(it);
}

void Client::accept_request(const std::shared_ptr<detail::RequestState>& state, ChannelHandler handler) {
  const std::uint64_t number = state->request.request;
  requests_.erase(number);
  if (state->cancelled) {
    deferred_.emplace_back([handler = std::move(handler)] { handler(make_error(Reason::kCancelled)); });
    return;
  }
  ChannelAcceptParams params{number, /*strict_end=*/true};
  start("channel.accept", write_members(params),
        [this, uri = state->request.uri, handler = std::move(handler)](const Outcome<Json>& reply, Fd fd) {
          handler(opened(reply, std::move(fd), uri));
        });
}

void Client::decline_request(const std::shared_ptr<detail::RequestState>& state, std::string text) {
  const std::uint64_t number = state->request.request;
  requests_.erase(number);
  if (state->cancelled) return;
  ChannelDeclineParams params{number, std::nullopt};
  if (!text.empty()) params.reason = to_utf8(std::move(text));  // for people: no reason to leave the peer waiting
  call("channel.decline", write_members(params), ReplyHandler{});
}

}  // namespace connd::ipc
