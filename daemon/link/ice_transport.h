// SPDX-License-Identifier: GPL-3.0-or-later
/// IceTransport: the stream to a peer once ICE has found it and its socket was taken over. It owns the socket, takes
/// RFC 4571 framing and STUN off what comes, and sends what TLS has made ready. No policy.
#pragma once

#include <chrono>
#include <optional>

#include "daemon/event_loop/edge_poller.h"
#include "daemon/ice/ice_agent.h"
#include "daemon/link/link.h"
#include "proto/bytes.h"
#include "proto/result.h"
#include "proto/rfc4571.h"

namespace connd::daemon {

class IceTransport {
 public:
  using Status = Link::Status;  ///< of receive, kEnded: the peer closed the TCP connection

  /// `handler` is told of edges. Throws nothing; an error of registration is reported by the first receive.
  IceTransport(EdgePoller& poller, IcePath path, EdgeHandler& handler);

  /// An edge with these events came. The peer's end makes no second edge: receive() then reads up to it.
  void note(std::uint32_t events) { end_ahead_ |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0; }
  /// Reads once into `scratch`; then call next() until it gives nothing, before `scratch` changes.
  proto::Result<Status> receive(proto::MutableBytes scratch);
  /// The next stream bytes of what was received. A STUN request is answered on the way: the answer is appended to
  /// `output`, which must end at a frame boundary. nullopt: none left.
  proto::Result<std::optional<proto::Bytes>> next(proto::Buffer& output);
  /// Sends from the front of `output` until it is empty or the socket takes no more.
  proto::Result<Status> send(proto::Buffer& output);

  /// The peer has acknowledged all that was sent, and nothing of it lies here unread.
  [[nodiscard]] bool quiet() const;
  /// From now on the kernel asks the peer's kernel after `idle` without a byte (at least 1 s), and ends the connection
  /// when no answer comes for half as long again.
  void ask_kernel(std::chrono::seconds idle);
  /// For a peer without credit, before much has come: bounds what the kernel takes while nobody reads, where it may be
  /// bounded to that.
  void limit_unread();
  /// Closes the other connections that the attempt had opened (IcePath::held): a native peer needs them no more.
  void release_others() { path_.held.clear(); }
  /// No more is sent. Again: changes nothing.
  void end_output();
  /// Reads once into `scratch`, for nobody. kEnded also when the connection is broken.
  Status discard(proto::MutableBytes scratch);

  /// Asks for on_edge(EPOLLIN) in the next turn.
  void again() { watch_.again(EPOLLIN); }

  [[nodiscard]] const IcePath& path() const { return path_; }
  /// The shortest round trip that the kernel has seen on this connection; very long when it does not know.
  [[nodiscard]] std::chrono::microseconds round_trip() const;
  /// All zero when the kernel does not know.
  [[nodiscard]] Link::Delivery delivery() const;

 private:
  void answer_stun(proto::Bytes message, proto::Buffer& output);

  IcePath path_;
  proto::Rfc4571Reader frames_;
  std::error_code watch_error_;
  bool end_ahead_ = false;
  EdgePoller::Watch watch_;  // after path_: it goes before the socket is closed
};

}  // namespace connd::daemon
