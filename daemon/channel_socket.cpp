// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/channel_socket.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <sys/socket.h>

namespace connd::daemon {
namespace {
constexpr std::string_view kAppGone = "the application that had it closed it";
constexpr std::string_view kNotFinished = "the application ended without finishing the channel";
constexpr std::string_view kNotTaken = "one side ended the channel before it had taken all that the other had sent";
}  // namespace

ChannelSocket::ChannelSocket(ChannelHost& host, proto::ChannelHandle handle, ipc::Fd fd, const ChannelOptions& options)
    : host_(&host),
      ends_(&host),
      handle_(handle),
      options_(options),
      fd_(std::move(fd)),
      held_(host.mux().max_held()) {}

proto::Result<void> ChannelSocket::start(EdgePoller& poller) {
  auto watch = poller.watch(fd_.get(), *this);
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

proto::Result<void> ChannelSocket::attach(ipc::Fd fd, EdgePoller& poller) {
  if (over_ || fd_) return std::make_error_code(std::errc::operation_canceled);
  fd_ = std::move(fd);
  return start(poller);  // the first edge says that it can be written to
}

void ChannelSocket::leave_connection(ChannelEnds& ends) {
  assert(ended_on_wire());
  host_ = nullptr;
  ends_ = &ends;
}

void ChannelSocket::shut() {
  over_ = true;
  watch_.reset();
  fd_.reset();
}

void ChannelSocket::on_edge(std::uint32_t events) {
  if (over_) return;
  // EPOLLHUP with our own direction still open can only mean that the app's end is closed. After our SHUT_WR the app's
  // SHUT_WR shows the same; then nothing but the end is left to tell either.
  if ((events & EPOLLHUP) != 0) app_closed_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) eof_ahead_ = true;
  if ((events & EPOLLPRI) != 0) urgent_ = true;
  if ((events & EPOLLOUT) != 0) write_held();
  if (over_) return;
  // The app closed while bytes for it lay unread: it did not take everything. Nothing needs to be sent to know that,
  // and where there is no credit nothing can be.
  if ((events & EPOLLERR) != 0) {
    app_closed_ = true;
    return abort(proto::Reason::kReset, kAppGone);
  }
  if (app_closed_ && options_.strict_end && send_ == SendHalf::kOpen) await_finish();
  // After finish() our direction has ended without the app's EOF being read: nothing reads up to it any more.
  if (eof_read_ || send_ >= SendHalf::kHeldBack) {
    if (app_closed_) app_gone();
  } else if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) {
    host_->mux().set_ready(handle_, true);
    host_->channel_has_work();
    look_for_end();
  }
}

// ---- from the app to the peer ----

std::size_t ChannelSocket::read_app(proto::MutableBytes room) {
  if (!fd_) {  // finished before it was attached
    host_->mux().set_ready(handle_, false);
    if (send_ == SendHalf::kFinishing) send_eof();
    return 0;
  }
  iovec data{room.data(), room.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  ssize_t n;
  do {
    n = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    bytes_out_ += static_cast<std::uint64_t>(n);
    // A short read has emptied the socket: whatever comes later makes a new edge. But an EOF that was told of already
    // makes none, finishing wants to see the end, and a read stops behind an fd that was sent along (and is dropped),
    // and before a byte that was sent out of band (and is dropped, too).
    const bool emptied = !urgent_ && static_cast<std::size_t>(n) < room.size() && (message.msg_flags & MSG_CTRUNC) == 0;
    if (emptied && !eof_ahead_ && send_ != SendHalf::kFinishing) host_->mux().set_ready(handle_, false);
    return static_cast<std::size_t>(n);
  }
  nothing_read(n);
  return 0;
}

/// What recvmsg says when it has no bytes: `n` is its result, at most 0.
void ChannelSocket::nothing_read(ssize_t n) {
  host_->mux().set_ready(handle_, false);
  if (n == 0) {
    eof_read_ = true;
    app_ended_writing();
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    if (send_ == SendHalf::kFinishing) send_eof();
  } else {
    // ECONNRESET: the app closed while bytes for it lay unread. It is gone, and it did not take everything.
    eof_read_ = app_closed_ = true;
    abort(proto::Reason::kReset, kAppGone);
  }
}

void ChannelSocket::look_for_end() {
  const bool may_be_next = eof_ahead_ || send_ == SendHalf::kFinishing;
  if (over_ || eof_read_ || send_ >= SendHalf::kHeldBack || !may_be_next) return;
  if (host_->mux().has_credit(handle_)) return;  // it is read in its turn
  char byte;
  ssize_t n;
  do {
    n = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) nothing_read(n);
}

void ChannelSocket::app_ended_writing() {
  const bool clean = !options_.strict_end || send_ == SendHalf::kFinishing;
  if (clean) {
    send_eof();
  } else if (app_closed_ && !finish_may_be_clean()) {
    abort(proto::Reason::kReset, kNotFinished);
  }
  // Else finish() may still come: the app has only shut down its end, or said it right before it closed.
}

/// The app has closed its end, and finish() was not read yet.
void ChannelSocket::await_finish() {
  if (grace_) return;
  grace_ = std::make_unique<Timer>(host_->loop(), [this] { finish_is_late(); });
  grace_->arm_in(kFinishGrace);
}

void ChannelSocket::finish_is_late() {
  if (send_ != SendHalf::kOpen || over_) return;
  if (++graces_ < kMostGraces && host_->finish_may_come(handle_)) return grace_->arm_in(kFinishGrace);
  abort(proto::Reason::kReset, kNotFinished);
}

/// Whether finish() would still make a clean end, with the app's end closed: see app_gone.
bool ChannelSocket::finish_may_be_clean() const {
  return half_close() ? receive_ == ReceiveHalf::kEnded : held_.empty();
}

void ChannelSocket::finish() {
  if (over_ || send_ != SendHalf::kOpen) return;
  if (eof_read_) {
    send_eof();
    return;
  }
  // What the app wrote before is in the socket: the pump reads until it is empty, and then ends.
  send_ = SendHalf::kFinishing;
  host_->mux().set_ready(handle_, true);
  host_->channel_has_work();
  look_for_end();
}

void ChannelSocket::send_eof() {
  if (send_ >= SendHalf::kHeldBack) return;
  if (!half_close()) {
    send_ = SendHalf::kHeldBack;
    if (app_closed_) app_gone();
    return;
  }
  send_ = SendHalf::kEnded;
  host_->mux().finish(handle_);
  host_->channel_has_work();
  finish_if_both_ended();
  if (!over_ && app_closed_ && eof_read_) app_gone();
}

/// The app's end is closed. Whether that is an abort depends on what it leaves behind.
void ChannelSocket::app_gone() {
  if (over_) return;
  if (send_ == SendHalf::kHeldBack && held_.empty()) {
    end_for_good();
  } else if (send_ < SendHalf::kHeldBack) {
    // With grace_ the app may have said finish() right before it closed.
    if (!grace_ || !finish_may_be_clean()) abort(proto::Reason::kReset, kNotFinished);
  } else if (options_.strict_end || !held_.empty()) {
    // It ended its own direction well, and will not take the peer's.
    abort(proto::Reason::kReset, kAppGone);
  }
  // Else the peer may end in its own time; data that still comes has nowhere to go, and then the peer hears of it.
}

/// The app is done, in both directions.
void ChannelSocket::end_for_good() {
  send_ = SendHalf::kEnded;
  receive_ = ReceiveHalf::kEnded;
  host_->mux().finish(handle_);
  host_->channel_has_work();
  finish_if_both_ended();
}

// ---- from the peer to the app ----

void ChannelSocket::deliver(proto::Bytes bytes) {
  if (over_) return;
  const std::size_t taken = fd_ && held_.empty() ? write_app(bytes) : 0;
  if (over_) return;
  if (!held_.append(bytes.subspan(taken))) {
    // The mux lets nobody pass its window, or what the brake leaves, which is held_'s bound.
    abort(proto::Reason::kInternal, "more data than the channel may hold");
  }
}

void ChannelSocket::write_held() {
  while (!held_.empty() && !over_) {
    const std::size_t taken = write_app(held_.data());
    if (taken == 0) return;
    held_.consume(taken);
  }
  if (over_) return;
  if (receive_ == ReceiveHalf::kEnding) end_receive();
}

/// Returns how much the kernel took; that much credit goes back to the peer.
std::size_t ChannelSocket::write_app(proto::Bytes bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const ssize_t n = ::send(fd_.get(), bytes.data() + taken, bytes.size() - taken, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
      taken += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      break;
    }
  }
  const int error = taken < bytes.size() ? errno : 0;
  if (taken > 0) {
    bytes_in_ += taken;
    if (host_ != nullptr) {
      host_->mux().consumed(handle_, taken, host_->now());
      host_->channel_has_work();
    }
  }
  if (error != 0 && error != EAGAIN && error != EWOULDBLOCK && error != ENOBUFS) {
    app_closed_ = true;
    abort(proto::Reason::kReset, kAppGone);
  }
  return taken;
}

void ChannelSocket::peer_ended() {
  if (over_ || receive_ != ReceiveHalf::kOpen) return;
  receive_ = ReceiveHalf::kEnding;
  if (!half_close()) {
    cut_ = send_ < SendHalf::kHeldBack;
    send_ = SendHalf::kEnded;
  }
  if (fd_ && held_.empty()) end_receive();
}

void ChannelSocket::end_receive() {
  if (receive_ == ReceiveHalf::kEnded) return;
  receive_ = ReceiveHalf::kEnded;
  // What the app has written and we have not read goes nowhere any more; what it would still write fails.
  ::shutdown(fd_.get(), cut_ ? SHUT_RDWR : SHUT_WR);
  char byte;
  if (cut_ && ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0) {
    return abort(proto::Reason::kStalled, kNotTaken);
  }
  finish_if_both_ended();
}

void ChannelSocket::finish_if_both_ended() {
  if (over_ || send_ != SendHalf::kEnded || receive_ != ReceiveHalf::kEnded) return;
  over_ = true;
  ends_->channel_over(*this, proto::Reason::kClosed, {});
}

void ChannelSocket::abort(proto::Reason reason, std::string_view text) {
  if (over_) return;
  over_ = true;
  ends_->channel_over(*this, reason, text);
}

}  // namespace connd::daemon
