// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// File descriptors over a Unix-domain stream socket: one recvmsg, one sendmsg, and who is at the other end.
///
/// Plain functions over a descriptor that the caller owns; FdChannel builds on them. Nothing here blocks if the socket
/// is non-blocking.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include <sys/types.h>

#include "ipc/fd.h"
#include "proto/bytes.h"
#include "proto/result.h"

namespace connd::ipc {

struct Received {
  std::size_t bytes = 0;  ///< 0: end of stream, or `would_block`
  bool would_block = false;
  bool truncated = false;  ///< MSG_CTRUNC: fds were lost. The stream cannot be trusted to match its fds any more
};

/// One recvmsg into `into` (not empty). fds that came along are appended to `fds`, close-on-exec. Without `fds` they
/// are dropped by the kernel, never in our table, and `truncated`. Errors: errno's.
[[nodiscard]] proto::Result<Received> receive_with_fds(int socket, proto::MutableBytes into, std::deque<Fd>* fds);

/// From now on nobody can send fds to `socket`, nor to what a listening one accepts: EPERM for who tries. Whoever takes
/// an fd, if only to drop it, may be its last owner, and wait for it: a TCP socket with SO_LINGER, a file whose server
/// never answers. False before Linux 6.16, which cannot refuse them.
bool refuse_fds(int socket);

struct Sent {
  enum class Outcome {
    kDone,        ///< `bytes` are in the kernel, and the fd, if there was one, with the first of them
    kWouldBlock,  ///< the socket is full: nothing was sent; try again when it is writable
    kFdsInUse,    ///< ETOOMANYREFS and its like: nothing was sent; being writable says nothing about when to retry
  };
  Outcome outcome = Outcome::kDone;
  std::size_t bytes = 0;
};

/// One sendmsg of `bytes` (not empty), with `fd` unless that is negative. The fd stays the caller's, to be closed once
/// it is sent. Never raises SIGPIPE. Errors: errno's; EPIPE and ECONNRESET say that the other end is gone.
[[nodiscard]] proto::Result<Sent> send_with_fd(int socket, proto::Bytes bytes, int fd);

/// True when the other end has read all that was sent to it. False also when the kernel cannot tell.
[[nodiscard]] bool all_collected(int socket);

/// The process that called connect(2), or socketpair(2), as it was at that moment.
struct PeerCredentials {
  pid_t pid = -1;
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  std::vector<gid_t> groups;  ///< supplementary ones; the primary group may be among them
  [[nodiscard]] bool in_group(gid_t group) const;
};
/// SO_PEERCRED and SO_PEERGROUPS (unix(7)). Errors: errno's.
[[nodiscard]] proto::Result<PeerCredentials> peer_credentials(int socket);

/// Makes the descriptor non-blocking and close-on-exec.
[[nodiscard]] proto::Result<void> set_nonblocking(int fd);

}  // namespace connd::ipc
