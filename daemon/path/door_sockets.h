// SPDX-License-Identifier: GPL-3.0-or-later
/// The sockets of the daemon's one TCP port: listeners, and connections that leave from that port too, so that what a
/// NAT lets in for the one is let in for the other.
///
/// All have SO_REUSEADDR and SO_REUSEPORT, set before they are bound; but a listener is bound without the latter first,
/// so that a port at which somebody else listens, be it another daemon of this user, is told from a free one.
#pragma once

#include "daemon/system/endpoints.h"
#include "ipc/fd.h"
#include "proto/result.h"

namespace connd::daemon {

/// Listens on all addresses of the family (AF_INET, AF_INET6); port 0: any. Non-blocking.
proto::Result<ipc::Fd> listen_at(int family, std::uint16_t port);

struct Outgoing {
  ipc::Fd socket;
  bool connected = false;  ///< at once; else it is under way
};
/// Begins to connect from `port` (0: any). Non-blocking. EADDRNOTAVAIL, EADDRINUSE: this pair of endpoints has a
/// connection, which may lie in the listener's queue.
proto::Result<Outgoing> connect_from(std::uint16_t port, const proto::IpEndpoint& to);
/// What became of it: 0, or an errno.
int connect_error(int socket);

/// Sends all, or fails: a connection that has just begun takes a few hundred bytes.
bool send_all(int socket, proto::Bytes bytes);
/// What lies in the socket, up to `into`, and stays there. 0: the peer has ended its side; EAGAIN as an error.
proto::Result<std::size_t> peek(int socket, proto::MutableBytes into);
/// Takes `size` bytes that were peeked.
void take(int socket, std::size_t size);

}  // namespace connd::daemon
