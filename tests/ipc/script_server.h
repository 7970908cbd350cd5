// SPDX-License-Identifier: GPL-3.0-or-later
/// A daemon's end of the local API, played by a test: it says what the test tells it to, with the server's own pieces.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ipc/client.h"
#include "ipc/fd_channel.h"
#include "tests/ipc/socket_pair.h"

namespace connd::test {

/// Joined to a Client by a socket pair. All on one thread: neither end ever waits.
class ScriptServer {
 public:
  ScriptServer() {
    auto sockets = socket_pair();
    channel_ = std::make_unique<ipc::FdChannel>(std::move(sockets.first), ipc::FdChannel::Options{});
    client_ = std::make_unique<ipc::Client>(std::move(sockets.second));
  }

  ipc::Client& client() { return *client_; }

  /// The next request, which must be there, and be one of `method`.
  ipc::Request expect(const std::string& method) {
    client_->process();
    channel_->on_readable();
    auto outcome = channel_->next();
    REQUIRE(std::holds_alternative<ipc::FdChannel::Incoming>(outcome));
    auto& message = std::get<ipc::FdChannel::Incoming>(outcome).message;
    REQUIRE(std::holds_alternative<ipc::Request>(message));
    auto request = std::move(std::get<ipc::Request>(message));
    REQUIRE(request.method == method);
    return request;
  }
  /// True when the client has asked nothing more.
  bool idle() {
    client_->process();
    channel_->on_readable();
    return std::holds_alternative<ipc::FdChannel::NeedMore>(channel_->next());
  }

  /// Sends without letting the client run.
  void send(std::string line, ipc::Fd fd = {}) {
    REQUIRE(channel_->send(std::move(line), std::move(fd)));
    channel_->on_writable();
  }
  void reply(const ipc::Request& request, ipc::Json result, ipc::Fd fd = {}) {
    if (fd) result["fds"] = 1;
    send(ipc::reply_line(request.id, std::move(result)), std::move(fd));
    client_->process();
  }
  void fail(const ipc::Request& request, ipc::Reason reason) {
    send(ipc::error_line(request.id, ipc::make_error(reason)));
    client_->process();
  }
  void notify(const std::string& method, ipc::Json params, ipc::Fd fd = {}) {
    if (fd) params["fds"] = 1;
    send(ipc::notification_line(method, std::move(params)), std::move(fd));
    client_->process();
  }
  /// What a daemon does now and then: the client may have read since.
  void retry() { channel_->retry_fds(); }
  /// Goes away, as a daemon does that is stopped.
  void vanish() { channel_.reset(); }
  void destroy_client() { client_.reset(); }

 private:
  std::unique_ptr<ipc::FdChannel> channel_;
  std::unique_ptr<ipc::Client> client_;
};

inline ipc::Json open_result(std::uint64_t handle) {
  return {{"channel", handle}, {"device", "d0"}, {"account", "a0"}, {"half_close", true}};
}
inline ipc::Json closed_params(std::uint64_t handle, const char* reason) {
  return {{"channel", handle}, {"reason", reason}, {"bytes_in", 10}, {"bytes_out", 20}};
}

}  // namespace connd::test
