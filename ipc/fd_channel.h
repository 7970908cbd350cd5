// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// FdChannel: one end of a control connection. Lines in and out of a non-blocking Unix-domain stream socket, with the
/// file descriptors that belong to them (ipc/PROTOCOL.md, "File descriptors").
///
/// The owner polls `fd()` and calls `on_readable`, then `next` until NeedMore or Ended; and `on_writable` when
/// `wants_write()`. It owns the socket, received fds until they are handed out, and fds to be sent until the kernel has
/// them. One thread. No callbacks.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <variant>

#include "ipc/fd.h"
#include "ipc/line_codec.h"
#include "ipc/message.h"

namespace connd::ipc {

class FdChannel {
 public:
  struct Options {
    Role role = Role::kServer;
    std::size_t max_queued_bytes = kMaxQueuedBytes;
    std::size_t max_uncollected_fds = kMaxUncollectedFds;
    bool administrator = true;  ///< of a server: whether the other end may call an administrator's methods
  };
  struct NeedMore {};
  /// One message, and the fd that its `fds: 1` announced. A fd that the owner does not take is closed with it.
  struct Incoming {
    Message message;
    Fd fd;
  };
  /// Nothing more will come. Without an error the other end closed between two lines; a client may leave answers
  /// unread. With `answer` the error is worth sending to the other end (id null) before the owner flushes and closes.
  struct Ended {
    std::optional<Error> error;
    bool answer = false;
  };
  using Outcome = std::variant<NeedMore, Incoming, Ended>;

  /// Takes the socket and makes it non-blocking.
  FdChannel(Fd socket, Options options);

  [[nodiscard]] int fd() const { return socket_.get(); }

  /// Reads once, at most kReadChunkBytes. False when nothing was there to be read, or no room: drain `next` first.
  bool on_readable();
  /// The next message. After Ended it is always Ended.
  [[nodiscard]] Outcome next();

  /// Queues one line (without LF), and `fd`, if any, with it. False, and the fd closed, when the queue's bound would be
  /// passed or the other end is gone: the owner drops the connection. Nothing is sent before `on_writable`.
  [[nodiscard]] bool send(std::string line, Fd fd = {});
  /// True while something can be sent as soon as the socket is writable. False while `stalled_for_fds`.
  [[nodiscard]] bool wants_write() const { return !out_.empty() && !stalled_ && !send_failed_; }
  /// Sends until the socket is full, or `most` bytes have gone: then, true, there is more that can go. May be called at
  /// any time, also right after `send`.
  bool on_writable(std::size_t most = static_cast<std::size_t>(-1));

  /// True when the message at the front carries a fd that cannot go now: max_uncollected_fds wait at the other end, or
  /// the kernel's limit for this user is reached. All behind it wait too, so that the order stays. No poll event tells
  /// when that is over: the owner calls `retry_fds` now and then (10 ms is a good pace), and on any sign of life.
  [[nodiscard]] bool stalled_for_fds() const { return stalled_; }
  void retry_fds();

  /// Nothing is on its way in either direction, as far as this end knows.
  [[nodiscard]] bool idle() const {
    return out_.empty() && !codec_.holds_part() && received_fds_.empty() && uncollected_ == 0;
  }
  /// The socket, for who goes on with it in another way. Nothing comes or goes here any more.
  [[nodiscard]] Fd release() { return std::move(socket_); }

  [[nodiscard]] std::size_t queued_bytes() const { return queued_bytes_; }
  /// fds that were sent and may not have been read yet.
  [[nodiscard]] std::size_t uncollected_fds() const { return uncollected_; }
  /// fds that wait in the queue.
  [[nodiscard]] std::size_t queued_fds() const { return queued_fds_; }

 private:
  struct Outgoing {
    std::string bytes;
    Fd fd;
    std::size_t sent = 0;
  };

  Outcome take(Message message);
  Outcome end(Reason reason, std::string text, bool answer);
  Outcome at_end_of_lines();
  Outcome unusable_line(LineCodec::Error error);
  Outcome refused_line();
  bool may_send_fd();
  bool send_front();

  Fd socket_;
  Options options_;
  LineCodec codec_;
  std::deque<Fd> received_fds_;
  std::optional<Ended> ended_;
  std::optional<Ended> read_failure_;  // told after the lines that came before it
  std::deque<Outgoing> out_;
  std::size_t queued_bytes_ = 0;
  std::size_t queued_fds_ = 0;
  std::size_t uncollected_ = 0;
  bool stalled_ = false;
  bool send_failed_ = false;
};

}  // namespace connd::ipc
