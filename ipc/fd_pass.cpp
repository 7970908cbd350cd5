// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/fd_pass.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace connd::ipc {
namespace {

std::error_code last_error() {
  return {errno, std::system_category()};
}

// Room for two: CMSG_SPACE pads one to as much anyway. More in one message are nobody's right, and end in MSG_CTRUNC.
constexpr std::size_t kControlBytes = CMSG_SPACE(2 * sizeof(int));

/// SO_PASSRIGHTS, since Linux 6.16 (asm-generic/socket.h): younger than the headers of Debian 12.
constexpr int kSoPassRights = 83;

void collect_fds(msghdr& message, std::deque<Fd>& fds) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

proto::Result<Received> receive_with_fds(int socket, proto::MutableBytes into, std::deque<Fd>* fds) {
  alignas(cmsghdr) std::array<char, kControlBytes> control{};
  iovec bytes{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (fds != nullptr) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  ssize_t n = -1;
  do {
    n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Received{.would_block = true};
    return last_error();
  }
  if (fds != nullptr) collect_fds(message, *fds);
  return Received{.bytes = static_cast<std::size_t>(n), .truncated = (message.msg_flags & MSG_CTRUNC) != 0};
}

bool refuse_fds(int socket) {
  const int no = 0;
  return ::setsockopt(socket, SOL_SOCKET, kSoPassRights, &no, sizeof no) == 0;
}

proto::Result<Sent> send_with_fd(int socket, proto::Bytes bytes, int fd) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec data{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  ssize_t n = -1;
  do {
    n = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return Sent{Sent::Outcome::kDone, static_cast<std::size_t>(n)};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Sent{Sent::Outcome::kWouldBlock, 0};
  if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM) return Sent{Sent::Outcome::kFdsInUse, 0};
  return last_error();
}

bool all_collected(int socket) {
  int unread = 0;
  return ::ioctl(socket, SIOCOUTQ, &unread) == 0 && unread == 0;
}

bool PeerCredentials::in_group(gid_t group) const {
  return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
}

proto::Result<PeerCredentials> peer_credentials(int socket) {
  ucred cred{};
  socklen_t size = sizeof cred;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0) return last_error();
  PeerCredentials out{cred.pid, cred.uid, cred.gid, {}};
  // The first call says how much room is needed (ERANGE), the second fills it.
  socklen_t groups_size = 0;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, nullptr, &groups_size) == 0) return out;
  if (errno != ERANGE) return last_error();
  out.groups.resize(groups_size / sizeof(gid_t));
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, out.groups.data(), &groups_size) != 0) return last_error();
  out.groups.resize(groups_size / sizeof(gid_t));
  return out;
}

proto::Result<void> set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return last_error();
  }
  return {};
}

}  // namespace connd::ipc
