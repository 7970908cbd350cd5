// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/link/ice_transport.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <utility>

#include <catch2/catch.hpp>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

using namespace connd;
using namespace connd::daemon;
using namespace std::chrono_literals;

namespace {

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72  // since Linux 5.14
#endif

struct Deaf final : EdgeHandler {
  void on_edge(std::uint32_t /*events*/) override {}
};

/// Two ends of a TCP connection over loopback, the first of which does not block.
std::pair<ipc::Fd, ipc::Fd> tcp_pair() {
  const ipc::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener.get(), generic, size) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  REQUIRE(::getsockname(listener.get(), generic, &size) == 0);
  ipc::Fd near(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(near.get(), generic, size) == 0);
  ipc::Fd far(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(far);
  REQUIRE(::fcntl(near.get(), F_SETFL, O_NONBLOCK) == 0);
  return {std::move(near), std::move(far)};
}

}  // namespace

TEST_CASE("IceTransport: what the peer's kernel has said of what was sent") {
  Loop loop;
  EdgePoller poller(loop);
  Deaf deaf;
  auto [near, far] = tcp_pair();
  const int raw = near.get();
  IcePath path;
  path.socket = std::move(near);
  const IceTransport transport(poller, std::move(path), deaf);
  CHECK(transport.delivery().complete);
  CHECK(transport.delivery().acknowledged <= 1);  // a SYN counts

  std::array<char, 64 << 10> chunk{};
  std::size_t sent = 0;
  for (ssize_t n = 0; (n = ::send(raw, chunk.data(), chunk.size(), 0)) > 0;) sent += static_cast<std::size_t>(n);
  const Link::Delivery full = transport.delivery();
  CHECK_FALSE(full.complete);
  CHECK(full.acknowledged > 0);
  CHECK(full.acknowledged < sent);

  const std::size_t all = sent;
  for (ssize_t n = 0; sent > 0 && (n = ::recv(far.get(), chunk.data(), chunk.size(), 0)) > 0;) {
    sent -= static_cast<std::size_t>(n);
  }
  CHECK(transport.delivery().complete);
  CHECK(transport.delivery().acknowledged >= all);
}

TEST_CASE(
    "fault J1: IceTransport: what the kernel holds for a peer without credit is bounded, or the kernel's choice") {
  Loop loop;
  EdgePoller poller(loop);
  Deaf deaf;
  auto [near, far] = tcp_pair();
  const int raw = near.get();
  IcePath path;
  path.socket = std::move(near);
  IceTransport transport(poller, std::move(path), deaf);
  transport.limit_unread();
  int locked = 0;
  socklen_t size = sizeof locked;
  REQUIRE(::getsockopt(raw, SOL_SOCKET, SO_BUF_LOCK, &locked, &size) == 0);
  REQUIRE(::fcntl(far.get(), F_SETFL, O_NONBLOCK) == 0);
  std::array<char, 64 << 10> chunk{};
  while (::send(far.get(), chunk.data(), chunk.size(), 0) > 0) {
  }
  int unread = 0;
  REQUIRE(::ioctl(raw, SIOCINQ, &unread) == 0);
  CHECK(unread > 0);
  if ((locked & 2) != 0) {  // SOCK_BUF_LOCK of the receive buffer
    int granted = 0;
    REQUIRE(::getsockopt(raw, SOL_SOCKET, SO_RCVBUF, &granted, &size) == 0);
    CHECK(granted == 4 << 20);
    CHECK(unread <= granted);
  }
}
