// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/client.h"

#include <poll.h>

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>

#include <sys/socket.h>

#include "ipc/control_socket.h"
#include "ipc/snapshot_reader.h"

namespace connd::ipc {
namespace {

// Reads of one process(): a daemon that talks without pause must not hold the app's loop. A read gives one fd at most,
// so this is also how many channels can arrive in one.
constexpr int kReadsPerProcess = 64;

void run_handler(const std::function<void(Outcome<Json>, Fd)>& handler, const Error& error) {
  handler(error, Fd{});
}

bool all_utf8(const Json& value) {
  if (value.is_string()) return is_utf8(value.get_ref<const std::string&>());
  if (value.is_array()) return std::all_of(value.begin(), value.end(), all_utf8);
  if (!value.is_object()) return true;
  for (const auto& [name, member] : value.items()) {
    if (!is_utf8(name) || !all_utf8(member)) return false;
  }
  return true;
}

/// Text that is not UTF-8 would go out with U+FFFD in place of what is wrong, and ask for something else: a passphrase
/// would be a weaker one.
std::optional<Error> check_utf8(std::string_view method, const Json& params) {
  if (!is_utf8(method)) return make_rpc_error(kInvalidParams, "method: expected UTF-8");
  for (const auto& [name, value] : params.items()) {
    if (!is_utf8(name)) return make_rpc_error(kInvalidParams, "params: a member's name is not UTF-8");
    if (!all_utf8(value)) return make_rpc_error(kInvalidParams, name + ": expected UTF-8");
  }
  return std::nullopt;
}

}  // namespace

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
  client->server_ = std::move(*server);
  return client;
}

Client::Client(Fd socket)
    : channel_(std::move(socket), {.role = Role::kClient}), link_(std::make_shared<detail::ClientLink>()) {
  link_->client = this;
}

Client::~Client() {
  assert(depth_ == 0 && "a callback must not destroy its Client");
  link_->client = nullptr;
  for (auto& [handle, state] : channels_) {
    state->end = ChannelEnd{.reason = Reason::kConnectionLost, .detail = "the client was closed"};
  }
  for (auto& [number, state] : requests_) state->cancelled = true;
}

void Client::process() {
  ++depth_;
  flush();
  for (int reads = 0; !lost_ && reads < kReadsPerProcess; ++reads) {
    process_lines();
    if (lost_ || !channel_.on_readable()) break;
  }
  if (!lost_) process_lines();
  run_deferred();
  flush();
  --depth_;
}

void Client::process_lines() {
  while (!lost_) {
    FdChannel::Outcome outcome = channel_.next();
    if (std::holds_alternative<FdChannel::NeedMore>(outcome)) return;
    if (auto* incoming = std::get_if<FdChannel::Incoming>(&outcome)) {
      dispatch(std::move(*incoming));
      continue;
    }
    const auto& ended = std::get<FdChannel::Ended>(outcome);
    if (ended.error) return lose(*ended.error);
    return lose(make_error(Reason::kConnectionLost, "jami-connd has closed the control connection", farewell_));
  }
}

bool Client::run_until(const std::function<bool()>& done, Milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + timeout;
  while (!done()) {
    if (lost_ && deferred_.empty()) return false;
    const auto left = std::chrono::ceil<Milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd poll_fd{fd(), static_cast<short>(POLLIN | (wants_write() ? POLLOUT : 0)), 0};
    const auto wait = std::min<std::int64_t>(left.count(), 60'000);
    static_cast<void>(::poll(&poll_fd, 1, static_cast<int>(wait)));
    process();
  }
  return true;
}

void Client::flush() {
  channel_.on_writable();
}

void Client::run_deferred() {
  // As many as there are now: a callback that defers another leaves it to the next turn.
  for (std::size_t n = deferred_.size(); n > 0 && !deferred_.empty(); --n) {
    const std::function<void()> task = std::move(deferred_.front());
    deferred_.pop_front();
    task();
  }
}

/// Nothing is called here: what there is to tell is deferred, in the order calls, channels, connection.
void Client::lose(Error error) {
  if (std::exchange(lost_, true)) return;
  // The fd stays, readable at its end, so that a loop that polls it comes back to run what is deferred.
  ::shutdown(fd(), SHUT_RDWR);
  // Half a line, as a daemon leaves that is killed: to the app that is a lost connection like any other.
  if (error.reason == Reason::kInvalidArgument) error = make_error(Reason::kConnectionLost, {}, error.message);
  if (turned_away_) error = *turned_away_;
  auto pending = std::exchange(pending_, {});
  for (auto& [id, handler] : pending) {
    deferred_.emplace_back([handler = std::move(handler), error] { run_handler(handler, error); });
  }
  if (auto snapshot = std::exchange(snapshot_, nullptr)) {
    deferred_.emplace_back([snapshot, error] { snapshot->fail(error); });
  }
  auto channels = std::exchange(channels_, {});
  for (auto& [handle, state] : channels) {
    state->end = ChannelEnd{.reason = Reason::kConnectionLost, .detail = error.message};
    tell_end_later(state);
  }
  for (auto& [number, state] : requests_) state->cancelled = true;
  requests_.clear();
  listeners_.clear();
  deferred_.emplace_back([this, error] {
    if (auto handler = std::exchange(on_lost_, nullptr)) handler(error);
  });
}

std::uint64_t Client::start(std::string_view method, Json params, RawHandler handler) {
  const std::uint64_t id = next_id_++;
  std::optional<Error> error;
  if (lost_) {
    error = make_error(Reason::kConnectionLost, "jami-connd has closed the control connection", farewell_);
  } else if (error = check_utf8(method, params); !error) {
    std::string line = request_line(id, method, std::move(params));
    if (line.size() > kMaxLineBytes) {
      error = make_error(Reason::kInvalidArgument, "the request is longer than 1 MiB");
    } else if (!channel_.send(std::move(line))) {
      error = make_error(Reason::kResourceLimit, "too many requests wait to be sent");
    }
  }
  if (error) {
    deferred_.emplace_back([handler = std::move(handler), e = *error] { run_handler(handler, e); });
  } else {
    pending_.emplace(id, std::move(handler));
    flush();
  }
  return id;
}

void Client::call(std::string_view method, Json params, ReplyHandler handler) {
  start(method, std::move(params), [handler = std::move(handler)](Outcome<Json> result, const Fd&) {
    if (handler) handler(std::move(result));
  });
}

Outcome<Json> Client::call(std::string_view method, Json params, Milliseconds timeout) {
  // Shared with the handler, which may still wait among the deferred ones when we give up.
  const auto slot = std::make_shared<std::optional<Outcome<Json>>>();
  const auto id =
      start(method, std::move(params), [slot](Outcome<Json> result, const Fd&) { *slot = std::move(result); });
  run_until([&slot] { return slot->has_value(); }, timeout);
  if (*slot) return std::move(**slot);
  pending_.erase(id);
  return make_error(Reason::kTimedOut, "jami-connd did not answer in time");
}

Outcome<Json> Client::list(std::string_view method, const char* items, Milliseconds timeout) {
  if (!server_.has(kFeaturePages)) return call(method, Json::object(), timeout);
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

void Client::dispatch(FdChannel::Incoming incoming) {
  if (auto* reply = std::get_if<Reply>(&incoming.message)) {
    return answer(reply->id, std::move(reply->result), std::move(incoming.fd));
  }
  if (auto* error = std::get_if<ErrorReply>(&incoming.message)) {
    // About a line that the daemon could not read: no call of ours is known to be meant.
    if (error->id.is_null()) farewell_ = error->error.message;
    const bool known = !server_.server.empty();
    const Reason reason = error->error.reason;
    if (error->id.is_null() && !known && (reason == Reason::kNotPermitted || reason == Reason::kResourceLimit)) {
      turned_away_ = error->error;
    }
    return answer(error->id, std::move(error->error), {});
  }
  if (const auto* note = std::get_if<Notification>(&incoming.message)) return notify(*note, std::move(incoming.fd));
  const auto& bad = std::get<Malformed>(incoming.message);
  lose(make_error(Reason::kProtocolError, "jami-connd sent a malformed message: " + bad.error.message));
}

void Client::answer(const Json& id, Outcome<Json> result, Fd fd) {
  if (!id.is_number_unsigned()) return;
  const auto it = pending_.find(id.get<std::uint64_t>());
  // Unknown: a call that was given up. A fd that came too late is closed here, which resets its channel.
  if (it == pending_.end()) return;
  const RawHandler handler = std::move(it->second);
  pending_.erase(it);
  handler(std::move(result), std::move(fd));
}

void Client::on_notification(std::string method, NotificationHandler handler) {
  notification_handlers_[std::move(method)] = std::move(handler);
}

void Client::notify(const Notification& note, Fd fd) {
  if (note.method == "channel.opened") return take_opened(note.params, std::move(fd));
  if (note.method == "channel.request") return take_request(note.params);
  if (note.method == "channel.request_cancelled") return take_cancelled(note.params);
  if (note.method == "channel.closed") return take_closed(note.params);
  if (note.method == "event") return take_event(note.params);
  if (note.method == "events.lost") return take_lost_events(note.params);
  if (note.method == "events.snapshot") return take_snapshot_part(note.params);
  const auto it = notification_handlers_.find(note.method);
  if (it == notification_handlers_.end()) return;
  const NotificationHandler handler = it->second;  // a copy: it may replace itself
  handler(note.params);
}

void Client::bad_notification(const Error& error) {
  lose(make_error(Reason::kProtocolError, "jami-connd sent a malformed notification: " + error.message));
}

void Client::on_event(EventHandler handler, std::function<void(Outcome<Snapshot>)> done) {
  on_event_ = std::move(handler);
  const bool stream = server_.has(kFeatureSnapshotStream);
  call("events.subscribe", stream ? Json{{"stream", true}} : Json::object(),
       [this, stream, done = std::move(done)](const Outcome<Json>& reply) {
         if (reply && stream) return begin_snapshot(*reply, done);
         if (!done) return;
         done(reply ? read_result<Snapshot>(*reply) : Outcome<Snapshot>(reply.error()));
       });
}

Outcome<Snapshot> Client::on_event(EventHandler handler) {
  const auto slot = std::make_shared<std::optional<Outcome<Snapshot>>>();
  on_event(std::move(handler), [slot](Outcome<Snapshot> snapshot) { *slot = std::move(snapshot); });
  run_until([&slot] { return slot->has_value(); }, kCallTimeout);
  if (*slot) return std::move(**slot);
  return make_error(Reason::kTimedOut, "jami-connd did not answer in time");
}

void Client::begin_snapshot(const Json& head, const std::function<void(Outcome<Snapshot>)>& done) {
  auto snapshot = read_result<Snapshot>(head);
  if (snapshot) {
    snapshot_ = std::make_shared<SnapshotReader>(*std::move(snapshot), done);
  } else if (done) {
    done(snapshot.error());
  }
}

void Client::take_snapshot_part(const Json& params) {
  auto part = read_result<SnapshotPart>(params);
  if (!part) return bad_notification(part.error());
  const auto reader = snapshot_;
  if (!reader || !reader->add(*std::move(part))) return;
  reader->tell();
  // A handler may process more, which is held too; or subscribe anew: then what was before is in the next snapshot.
  while (snapshot_ == reader) {
    auto held = reader->take_held();
    if (!held) {
      snapshot_.reset();
      return;
    }
    const EventHandler handler = on_event_;
    if (handler) handler(held->event, held->members);
  }
}

void Client::tell_event(Event event, Json members) {
  if (snapshot_) return snapshot_->hold(std::move(event), std::move(members));
  const EventHandler handler = on_event_;
  if (handler) handler(event, members);
}

void Client::take_event(const Json& params) {
  auto event = read_result<Event>(params);
  if (!event) return bad_notification(event.error());
  tell_event(*std::move(event), params);
}

void Client::take_lost_events(const Json& params) {
  const auto lost = read_result<EventsLost>(params);
  if (!lost) return bad_notification(lost.error());
  tell_event(Event{.seq = lost->seq, .type = "events.lost"}, params);
}

}  // namespace connd::ipc
