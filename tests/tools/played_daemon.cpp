// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/tools/played_daemon.h"

#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include <catch2/catch.hpp>
#include <sys/un.h>

#include "tests/ipc/socket_pair.h"

namespace connd::test {
namespace {

constexpr int kLimit_ms = 60'000;  // for what must come: a failure, not a wait

void wait_for(int fd, short events) {
  pollfd item{fd, events, 0};
  REQUIRE(::poll(&item, 1, kLimit_ms) == 1);
}

}  // namespace

PlayedDaemon::PlayedDaemon() {
  std::string pattern = "/tmp/connctl-test-XXXXXX";
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  directory_ = pattern;
  path_ = directory_ + "/control.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  listening_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(listening_.get(), 4) == 0);
}

PlayedDaemon::~PlayedDaemon() {
  ::unlink(path_.c_str());
  ::rmdir(directory_.c_str());
}

void PlayedDaemon::greet() {
  wait_for(listening_.get(), POLLIN);
  ipc::Fd socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(socket);
  client_ = std::make_unique<ipc::FdChannel>(std::move(socket), ipc::FdChannel::Options{});
  reply(expect("hello"), {{"server", "jami-connd"}, {"version", "9.9"}, {"api", ipc::kApiVersion}, {"ready", true}});
}

ipc::FdChannel::Outcome PlayedDaemon::next() {
  while (true) {
    auto outcome = client_->next();
    if (!std::holds_alternative<ipc::FdChannel::NeedMore>(outcome)) return outcome;
    wait_for(client_->fd(), POLLIN);
    client_->on_readable();
  }
}

ipc::Request PlayedDaemon::expect(const std::string& method) {
  INFO("expected " << method);
  ipc::Request request = expect_any();
  REQUIRE(request.method == method);
  return request;
}

ipc::Request PlayedDaemon::expect_any() {
  auto outcome = next();
  REQUIRE(std::holds_alternative<ipc::FdChannel::Incoming>(outcome));
  auto& message = std::get<ipc::FdChannel::Incoming>(outcome).message;
  REQUIRE(std::holds_alternative<ipc::Request>(message));
  return std::move(std::get<ipc::Request>(message));
}

void PlayedDaemon::expect_end() {
  REQUIRE(std::holds_alternative<ipc::FdChannel::Ended>(next()));
}

void PlayedDaemon::send(std::string line, ipc::Fd fd) {
  REQUIRE(client_->send(std::move(line), std::move(fd)));
  client_->on_writable();
  while (client_->wants_write()) {
    wait_for(client_->fd(), POLLOUT);
    client_->on_writable();
  }
}

void PlayedDaemon::reply(const ipc::Request& request, ipc::Json result, ipc::Fd fd) {
  if (fd) result["fds"] = 1;
  send(ipc::reply_line(request.id, std::move(result)), std::move(fd));
}

void PlayedDaemon::fail(const ipc::Request& request, ipc::Reason reason, std::string detail) {
  send(ipc::error_line(request.id, ipc::make_error(reason, {}, std::move(detail))), {});
}

void PlayedDaemon::notify(const std::string& method, ipc::Json params) {
  send(ipc::notification_line(method, std::move(params)), {});
}

ipc::Fd PlayedDaemon::open_channel() {
  greet();
  const auto open = expect("channel.open");
  CHECK(open.params["strict_end"] == true);
  auto ends = socket_pair();
  reply(open, {{"channel", 7}, {"device", kPeer}, {"account", kAccount}, {"half_close", true}}, std::move(ends.second));
  return std::move(ends.first);
}

void PlayedDaemon::take_listener() {
  greet();
  reply(expect("listen.add"), {{"listener", 3}});
}

void PlayedDaemon::ask(std::uint64_t request, const std::string& uri) {
  ask(request, uri, kPeer, kAccount);
}

void PlayedDaemon::ask(std::uint64_t request, const std::string& uri, const std::string& peer,
                       const std::string& account) {
  notify("channel.request",
         {{"listener", 3}, {"request", request}, {"peer", peer}, {"account", account}, {"uri", uri}});
}

ipc::Fd PlayedDaemon::offer(std::uint64_t handle, const std::string& uri) {
  ask(handle, uri);
  const auto accept = expect("channel.accept");
  CHECK(accept.params["request"] == handle);
  CHECK(accept.params["strict_end"] == true);
  auto ends = socket_pair();
  reply(accept, {{"channel", handle}, {"device", kPeer}, {"account", kAccount}, {"half_close", true}},
        std::move(ends.second));
  return std::move(ends.first);
}

void PlayedDaemon::finish(std::uint64_t handle) {
  const auto request = expect("channel.finish");
  CHECK(request.params["channel"] == handle);
  reply(request, ipc::Json::object());
}

void PlayedDaemon::close(std::uint64_t handle) {
  const auto request = expect("channel.close");
  CHECK(request.params["channel"] == handle);
  reply(request, ipc::Json::object());
  tell_end(handle, "cancelled");
}

void PlayedDaemon::tell_end(std::uint64_t handle, const char* reason) {
  notify("channel.closed", {{"channel", handle}, {"reason", reason}, {"bytes_in", 1}, {"bytes_out", 2}});
}

}  // namespace connd::test
