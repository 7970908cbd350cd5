// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/calls.h"

#include <poll.h>

#include <algorithm>
#include <cassert>

#include <sys/socket.h>

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

Calls::Calls(Fd socket, Owner& owner) : owner_(owner), channel_(std::move(socket), {.role = Role::kClient}) {}

Calls::~Calls() {
  assert(depth_ == 0 && "a callback must not destroy its Client");
}

void Calls::process() {
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

void Calls::process_lines() {
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

bool Calls::run_until(const std::function<bool()>& done, Milliseconds timeout) {
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

void Calls::run_deferred() {
  // As many as there are now: a callback that defers another leaves it to the next turn.
  for (std::size_t n = deferred_.size(); n > 0 && !deferred_.empty(); --n) {
    const std::function<void()> task = std::move(deferred_.front());
    deferred_.pop_front();
    task();
  }
}

/// Nothing is called here: what there is to tell is deferred, in the order calls, channels, connection.
void Calls::lose(Error error) {
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
  owner_.connection_lost(error);
}

Error Calls::no_answer() {
  return make_error(Reason::kTimedOut, "jami-connd did not answer in time");
}

std::uint64_t Calls::start(std::string_view method, Json params, Handler handler) {
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

void Calls::dispatch(FdChannel::Incoming incoming) {
  if (auto* reply = std::get_if<Reply>(&incoming.message)) {
    return answer(reply->id, std::move(reply->result), std::move(incoming.fd));
  }
  if (auto* error = std::get_if<ErrorReply>(&incoming.message)) {
    // About a line that the daemon could not read: no call of ours is known to be meant.
    if (error->id.is_null()) farewell_ = error->error.message;
    const Reason reason = error->error.reason;
    if (error->id.is_null() && !let_in_ && (reason == Reason::kNotPermitted || reason == Reason::kResourceLimit)) {
      turned_away_ = error->error;
    }
    return answer(error->id, std::move(error->error), {});
  }
  if (const auto* note = std::get_if<Notification>(&incoming.message)) {
    return owner_.notified(*note, std::move(incoming.fd));
  }
  const auto& bad = std::get<Malformed>(incoming.message);
  lose(make_error(Reason::kProtocolError, "jami-connd sent a malformed message: " + bad.error.message));
}

void Calls::answer(const Json& id, Outcome<Json> result, Fd fd) {
  if (!id.is_number_unsigned()) return;
  const auto it = pending_.find(id.get<std::uint64_t>());
  // Unknown: a call that was given up. A fd that came too late is closed here, which resets its channel.
  if (it == pending_.end()) return;
  const Handler handler = std::move(it->second);
  pending_.erase(it);
  handler(std::move(result), std::move(fd));
}

void Calls::bad_notification(const Error& error) {
  lose(make_error(Reason::kProtocolError, "jami-connd sent a malformed notification: " + error.message));
}

}  // namespace connd::ipc
