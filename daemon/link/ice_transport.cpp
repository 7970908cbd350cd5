// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/link/ice_transport.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <variant>

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "daemon/system/endpoints.h"
#include "proto/stun.h"

namespace connd::daemon {
namespace {

/// The head of the kernel's struct tcp_info (linux/tcp.h), which only ever grows. glibc's own ends before `min_rtt`,
/// and the kernel's header cannot stand beside glibc's, which libuv includes.
struct KernelTcpInfo {
  std::array<std::uint8_t, 120> before;
  std::uint64_t bytes_acked;
  std::array<std::uint8_t, 20> more_counts;
  std::uint32_t min_rtt;  ///< microseconds; all ones when there is none
};
static_assert(offsetof(KernelTcpInfo, bytes_acked) == 120 && offsetof(KernelTcpInfo, min_rtt) == 148);

std::optional<KernelTcpInfo> kernel_info(int fd) {
  KernelTcpInfo info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size != sizeof info) return std::nullopt;
  return info;
}

/// What lies in the kernel is ahead of a peer's beacon, which is answered in time only if it is read in time
/// (proto::Brake): 2 MiB fill 160 Mbit/s on a path of 100 ms. The kernel would take up to 32 MiB, or 6 MiB before
/// version 6.16.
constexpr int kMaxUnread = 2 << 20;
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72  // since Linux 5.14
#endif

std::error_code last_error() {
  return {errno, std::system_category()};
}

}  // namespace

IceTransport::IceTransport(EdgePoller& poller, IcePath path, EdgeHandler& handler) : path_(std::move(path)) {
  auto watch = poller.watch(path_.socket.get(), handler);
  if (watch) {
    watch_ = std::move(*watch);
  } else {
    watch_error_ = watch.error();
  }
}

std::chrono::microseconds IceTransport::round_trip() const {
  const auto info = kernel_info(path_.socket.get());
  return info ? std::chrono::microseconds(info->min_rtt) : std::chrono::microseconds::max();
}

Link::Delivery IceTransport::delivery() const {
  const int fd = path_.socket.get();
  const auto info = kernel_info(fd);
  int queued = 0;
  if (!info || ::ioctl(fd, SIOCOUTQ, &queued) != 0) return {};
  return {queued == 0, info->bytes_acked};
}

bool IceTransport::quiet() const {
  int queued = 0;
  int unread = 0;
  const int fd = path_.socket.get();
  return ::ioctl(fd, SIOCOUTQ, &queued) == 0 && ::ioctl(fd, SIOCINQ, &unread) == 0 && queued == 0 && unread == 0;
}

void IceTransport::ask_kernel(std::chrono::seconds idle) {
  const int fd = path_.socket.get();
  const int on = 1;
  const int probes = 3;
  const int first = std::max(1, static_cast<int>(idle.count()));
  const int interval = std::max(1, first / 6);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &first, sizeof first);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

void IceTransport::limit_unread() {
  const int fd = path_.socket.get();
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kMaxUnread, sizeof kMaxUnread);
  int granted = 0;
  socklen_t size = sizeof granted;
  // It is given twice of what it asks for, for the kernel's own books.
  if (::getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &size) == 0 && granted >= 2 * kMaxUnread) return;
  // Less is allowed (net.core.rmem_max), too little for long paths: then the kernel may choose again.
  const int unlocked = 0;
  (void)::setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &unlocked, sizeof unlocked);
}

void IceTransport::end_output() {
  (void)::shutdown(path_.socket.get(), SHUT_WR);
}

IceTransport::Status IceTransport::discard(proto::MutableBytes scratch) {
  if (watch_error_) return Status::kEnded;
  ssize_t n;
  do {
    n = ::recv(path_.socket.get(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return Status::kMore;
  return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? Status::kBlocked : Status::kEnded;
}

proto::Result<IceTransport::Status> IceTransport::receive(proto::MutableBytes scratch) {
  if (watch_error_) return watch_error_;
  ssize_t n;
  do {
    n = ::recv(path_.socket.get(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n == 0) return Status::kEnded;
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Status::kBlocked;
    return last_error();
  }
  frames_.feed(scratch.first(static_cast<std::size_t>(n)));
  // A short read has emptied the socket: whatever comes later makes a new edge.
  const bool emptied = static_cast<std::size_t>(n) < scratch.size() && !end_ahead_;
  return emptied ? Status::kBlocked : Status::kMore;
}

proto::Result<std::optional<proto::Bytes>> IceTransport::next(proto::Buffer& output) {
  for (;;) {
    auto piece = frames_.next();
    if (!piece) return piece.error();
    if (!*piece) return std::optional<proto::Bytes>{};
    if (const auto* data = std::get_if<proto::StreamData>(&**piece)) return std::optional(data->bytes);
    if (const auto* stun = std::get_if<proto::StunMessage>(&**piece)) answer_stun(stun->bytes, output);
    // A second hand-over frame says nothing new.
  }
}

/// RFC 8445, section 7: a peer whose check was not answered before the take-over repeats it.
void IceTransport::answer_stun(proto::Bytes message, proto::Buffer& output) {
  const auto peer = peer_endpoint(path_.socket.get());
  if (!peer) return;
  const auto answer = proto::stun_binding_response(message, *peer, path_.local_pwd);
  if (!answer) return;
  std::uint8_t header[2];
  proto::store_u16(header, static_cast<std::uint16_t>(answer->size()));
  // Unsent output that leaves no room for 100 bytes is a peer that does not read: it can do without an answer.
  if (output.room() < answer->size() + sizeof header) return;
  (void)output.append(header);
  (void)output.append(*answer);
}

proto::Result<IceTransport::Status> IceTransport::send(proto::Buffer& output) {
  while (!output.empty()) {
    const proto::Bytes data = output.data();
    const ssize_t n = ::send(path_.socket.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
      output.consume(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return Status::kBlocked;
    } else if (errno != EINTR) {
      return last_error();
    }
  }
  return Status::kMore;
}

}  // namespace connd::daemon
