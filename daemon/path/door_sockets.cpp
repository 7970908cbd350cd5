// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/path/door_sockets.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "daemon/system/fd_limits.h"

namespace connd::daemon {
namespace {

/// Connections that the kernel holds for us until we look: peers' and strangers'.
constexpr int kBacklog = 64;

std::error_code socket_error() {
  return {errno, std::system_category()};
}

bool turn_on(int fd, int level, int name) {
  const int on = 1;
  return ::setsockopt(fd, level, name, &on, sizeof on) == 0;
}

proto::Result<ipc::Fd> tcp_socket(int family) {
  ipc::Fd fd = lift_fd(ipc::Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  if (!fd) return socket_error();
  if (!turn_on(fd.get(), SOL_SOCKET, SO_REUSEADDR)) return socket_error();
  if (family == AF_INET6 && !turn_on(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY)) return socket_error();
  return fd;
}

bool bind_to(int fd, int family, std::uint16_t port) {
  proto::IpEndpoint any;
  any.is_ipv6 = family == AF_INET6;
  any.port = port;
  const SocketAddress address = socket_address(any);
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0;
}

}  // namespace

proto::Result<ipc::Fd> listen_at(int family, std::uint16_t port) {
  auto fd = tcp_socket(family);
  if (!fd) return fd;
  if (!bind_to(fd->get(), family, port)) return socket_error();
  if (!turn_on(fd->get(), SOL_SOCKET, SO_REUSEPORT)) return socket_error();
  if (::listen(fd->get(), kBacklog) != 0) return socket_error();
  return fd;
}

proto::Result<Outgoing> connect_from(std::uint16_t port, const proto::IpEndpoint& to) {
  const int family = to.is_ipv6 ? AF_INET6 : AF_INET;
  auto fd = tcp_socket(family);
  if (!fd) return fd.error();
  if (!turn_on(fd->get(), SOL_SOCKET, SO_REUSEPORT)) return socket_error();
  if (port != 0 && !bind_to(fd->get(), family, port)) return socket_error();
  (void)turn_on(fd->get(), IPPROTO_TCP, TCP_NODELAY);
  const SocketAddress address = socket_address(to);
  if (::connect(fd->get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0) {
    return Outgoing{std::move(*fd), true};
  }
  if (errno != EINPROGRESS) return socket_error();
  return Outgoing{std::move(*fd), false};
}

int connect_error(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

bool send_all(int socket, proto::Bytes bytes) {
  return ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

proto::Result<std::size_t> peek(int socket, proto::MutableBytes into) {
  const ssize_t n = ::recv(socket, into.data(), into.size(), MSG_PEEK | MSG_DONTWAIT);
  if (n < 0) return socket_error();
  return static_cast<std::size_t>(n);
}

void take(int socket, std::size_t size) {
  std::array<std::uint8_t, 2048> into;
  while (size > 0) {
    const ssize_t n = ::recv(socket, into.data(), std::min(size, into.size()), MSG_DONTWAIT);
    if (n <= 0) return;
    size -= static_cast<std::size_t>(n);
  }
}

}  // namespace connd::daemon
