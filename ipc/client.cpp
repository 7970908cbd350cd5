// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/client.h"

#include <map>
#include <optional>
#include <utility>

#include "ipc/calls.h"
#include "ipc/client_channels.h"
#include "ipc/control_socket.h"
#include "ipc/event_subscription.h"

namespace connd::ipc {

/// What the daemon says unasked goes to the first that knows what it is about.
struct Client::Parts final : Calls::Owner {
  explicit Parts(Fd socket) : calls(std::move(socket), *this), channels(calls), events(calls) {}

  void notified(const Notification& note, Fd fd) override {
    if (channels.notified(note, fd) || events.notified(note)) return;
    const auto it = handlers.find(note.method);
    if (it == handlers.end()) return;
    const NotificationHandler handler = it->second;  // a copy: it may replace itself
    handler(note.params);
  }

  void connection_lost(const Error& error) override {
    events.connection_lost(error);
    channels.connection_lost(error);
    calls.defer([this, error] {
      if (auto handler = std::exchange(on_lost, nullptr)) handler(error);
    });
  }

  Calls calls;
  ClientChannels channels;
  EventSubscription events;
  HelloResult server;
  std::map<std::string, NotificationHandler> handlers;  // by method
  LostHandler on_lost;
};

Outcome<std::unique_ptr<Client>> Client::connect(const ConnectOptions& options) {
  Outcome<Fd> socket = connect_control_socket(control_socket_paths(options.socket_path));
  if (!socket) return socket.error();
  auto client = std::make_unique<Client>(std::move(*socket));
  HelloParams hello{options.name, options.version.empty() ? CONND_VERSION : options.version};
  Outcome<Json> reply = client->call("hello", write_members(hello), options.timeout);
  if (!reply) return reply.error();
  Outcome<HelloResult> server = read_result<HelloResult>(*reply);
  if (!server) return make_error(Reason::kProtocolError, "the socket answers, but not as jami-connd does");
  if (server->api != kApiVersion) {
    return make_error(Reason::kProtocolError, "this program speaks version " + std::to_string(kApiVersion) +
                                                  " of the local API, the daemon version " +
                                                  std::to_string(server->api) + "; update the older of them");
  }
  client->parts_->server = std::move(*server);
  client->parts_->calls.let_in();
  return client;
}

Client::Client(Fd socket) : parts_(std::make_unique<Parts>(std::move(socket))) {}

Client::~Client() = default;

int Client::fd() const {
  return parts_->calls.fd();
}

bool Client::wants_write() const {
  return parts_->calls.wants_write();
}

bool Client::connected() const {
  return !parts_->calls.lost();
}

const HelloResult& Client::server() const {
  return parts_->server;
}

void Client::process() {
  parts_->calls.process();
}

bool Client::run_until(const std::function<bool()>& done, Milliseconds timeout) {
  return parts_->calls.run_until(done, timeout);
}

// ---- calls

void Client::call(std::string_view method, Json params, ReplyHandler handler) {
  parts_->calls.start(method, std::move(params), [handler = std::move(handler)](Outcome<Json> result, const Fd&) {
    if (handler) handler(std::move(result));
  });
}

Outcome<Json> Client::call(std::string_view method, Json params, Milliseconds timeout) {
  const auto slot = std::make_shared<std::optional<Outcome<Json>>>();
  const auto id = parts_->calls.start(method, std::move(params),
                                      [slot](Outcome<Json> result, const Fd&) { *slot = std::move(result); });
  Outcome<Json> result = parts_->calls.wait(slot, timeout);
  parts_->calls.give_up(id);
  return result;
}

Outcome<Json> Client::list(std::string_view method, const char* items, Milliseconds timeout) {
  if (!parts_->server.has(kFeaturePages)) return call(method, Json::object(), timeout);
  Json params = {{"limit", kMaxPageItems}};
  Json all = Json::array();
  while (true) {
    Outcome<Json> page = call(method, params, timeout);
    if (!page) return page;
    Json& part = (*page)[items];
    if (!part.is_array()) return make_error(Reason::kProtocolError, "jami-connd sent a page without its items");
    for (Json& item : part) all.push_back(std::move(item));
    const auto next = page->find("next");
    if (next == page->end()) {
      part = std::move(all);
      return page;
    }
    // Else it would go on for ever.
    if (part.empty()) return make_error(Reason::kProtocolError, "jami-connd sent an empty page that is not the last");
    params["after"] = *next;
  }
}

// ---- channels

void Client::connect_device(std::string_view peer, std::string_view uri, ChannelHandler handler, OpenOptions options) {
  parts_->channels.open(peer, uri, std::move(handler), options);
}

Client::ChannelHandler Client::or_ended(std::string_view uri, OpenedHandler handler) {
  return parts_->channels.or_ended(uri, std::move(handler));
}

Outcome<ChannelSocket> Client::open(std::string_view peer, std::string_view uri, OpenOptions options) {
  const auto slot = std::make_shared<std::optional<Outcome<ChannelSocket>>>();
  const auto id = parts_->channels.open(
      peer, uri, [slot](Outcome<ChannelSocket> channel) { slot->emplace(std::move(channel)); }, options);
  const auto own = std::chrono::duration_cast<Milliseconds>(std::chrono::duration<double>(options.timeout_s));
  Outcome<ChannelSocket> channel = parts_->calls.wait(slot, own + kOpenGrace);
  if (!*slot) {
    parts_->calls.give_up(id);
    parts_->calls.tell("channel.cancel", {{"id", id}});
  }
  return channel;
}

void Client::listen(std::string_view uri, const ListenOptions& options, OpenedHandler handler, ListenHandler done) {
  parts_->channels.listen(uri, options, ListenMode::kAuto, {std::move(handler), nullptr}, std::move(done));
}

void Client::listen_ask(std::string_view uri, const ListenOptions& options, AskHandler handler, ListenHandler done) {
  parts_->channels.listen(uri, options, ListenMode::kAsk, {nullptr, std::move(handler)}, std::move(done));
}

Outcome<std::uint64_t> Client::listen(std::string_view uri, const ListenOptions& options, OpenedHandler handler) {
  return parts_->channels.listen(uri, options, ListenMode::kAuto, {std::move(handler), nullptr}, kCallTimeout);
}

Outcome<std::uint64_t> Client::listen_ask(std::string_view uri, const ListenOptions& options, AskHandler handler) {
  return parts_->channels.listen(uri, options, ListenMode::kAsk, {nullptr, std::move(handler)}, kCallTimeout);
}

void Client::stop_listening(std::uint64_t listener) {
  parts_->channels.stop_listening(listener);
}

// ---- what the daemon says unasked

void Client::on_event(EventHandler handler, std::function<void(Outcome<Snapshot>)> done) {
  parts_->events.subscribe(std::move(handler), parts_->server.has(kFeatureSnapshotStream), std::move(done));
}

Outcome<Snapshot> Client::on_event(EventHandler handler) {
  const auto slot = std::make_shared<std::optional<Outcome<Snapshot>>>();
  on_event(std::move(handler), [slot](Outcome<Snapshot> snapshot) { *slot = std::move(snapshot); });
  return parts_->calls.wait(slot, kCallTimeout);
}

void Client::on_notification(std::string method, NotificationHandler handler) {
  parts_->handlers[std::move(method)] = std::move(handler);
}

void Client::on_lost(LostHandler handler) {
  parts_->on_lost = std::move(handler);
}

}  // namespace connd::ipc
