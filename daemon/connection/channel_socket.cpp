// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/channel_socket.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <spdlog/spdlog.h>
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
      held_(host.mux().max_held()),
      ending_(options.strict_end, host.mux().rules().half_close) {}

proto::Result<void> ChannelSocket::start(EdgePoller& poller) {
  auto watch = poller.watch(fd_.get(), *this);
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

proto::Result<void> ChannelSocket::attach(ipc::Fd fd, EdgePoller& poller) {
  if (over() || fd_) return std::make_error_code(std::errc::operation_canceled);
  fd_ = std::move(fd);
  return start(poller);  // the first edge says that it can be written to
}

void ChannelSocket::leave_connection(ChannelEnds& ends) {
  assert(ended_on_wire());
  host_ = nullptr;
  ends_ = &ends;
}

void ChannelSocket::shut() {
  ending_.end();
  watch_.reset();
  fd_.reset();
}

void ChannelSocket::on_edge(std::uint32_t events) {
  if (over()) return;
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) eof_ahead_ = true;
  if ((events & EPOLLPRI) != 0) urgent_ = true;
  if ((events & EPOLLOUT) != 0) write_held();
  // EPOLLHUP with our own direction still open can only mean that the app's end is closed. After our SHUT_WR the app's
  // SHUT_WR shows the same; then nothing but the end is left to tell either.
  if ((events & EPOLLHUP) != 0) ending_.app_closed();
  // It closed while bytes for it lay unread: it did not take everything. Nothing needs to be sent to know that, and
  // where there is no credit nothing can be.
  if ((events & EPOLLERR) != 0) ending_.app_broken();
  go_on();
  // After finish() our direction has ended without the app's EOF being read: nothing reads up to it any more.
  if (over() || ending_.complete() || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) == 0) return;
  host_->mux().set_ready(handle_, true);
  host_->channel_has_work();
  look_for_end();
}

// ---- the end ----

/// Does what the table says, until it says no more.
void ChannelSocket::go_on() {
  using Action = proto::ChannelEnding::Action;
  for (;;) {
    const Action action = ending_.next(held_.empty(), static_cast<bool>(fd_));
    log_halves();
    if (action == Action::kNone) return;
    act(action);
  }
}

void ChannelSocket::act(proto::ChannelEnding::Action action) {
  using Action = proto::ChannelEnding::Action;
  switch (action) {
    case Action::kNone:
      return;
    case Action::kSayEnd:
      host_->mux().finish(handle_);
      return host_->channel_has_work();
    case Action::kShutWrite:
      return shut_app(SHUT_WR);
    case Action::kShutBoth:
      return shut_app(SHUT_RDWR);
    case Action::kAwaitFinish:
      return await_finish();
    case Action::kClosed:
      return ends_->channel_over(*this, proto::Reason::kClosed, {});
    case Action::kNotFinished:
      return ends_->channel_over(*this, proto::Reason::kReset, kNotFinished);
    case Action::kAppGone:
      return ends_->channel_over(*this, proto::Reason::kReset, kAppGone);
    case Action::kNotTaken:
      return ends_->channel_over(*this, proto::Reason::kStalled, kNotTaken);
  }
}

/// What the app has written and we have not read goes nowhere any more, if `how` shuts that too.
void ChannelSocket::shut_app(int how) {
  ::shutdown(fd_.get(), how);
  char byte;
  if (how == SHUT_RDWR && ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0) ending_.lost();
}

/// The app has closed its end, and finish() was not read yet.
void ChannelSocket::await_finish() {
  grace_ = std::make_unique<Timer>(host_->loop(), [this] { finish_is_late(); });
  grace_->arm_in(kFinishGrace);
}

void ChannelSocket::finish_is_late() {
  if (over() || ending_.ours() != proto::OurHalf::kOpen) return;
  if (++graces_ < kMostGraces && host_->finish_may_come(handle_)) return grace_->arm_in(kFinishGrace);
  ending_.finish_is_late();
  go_on();
}

void ChannelSocket::log_halves() {
  const std::pair now(ending_.ours(), ending_.peers());
  if (now == logged_) return;
  spdlog::debug("channel={} ours={}->{} peers={}->{}", handle_, name_of(logged_.first), name_of(now.first),
                name_of(logged_.second), name_of(now.second));
  logged_ = now;
}

// ---- from the app to the peer ----

std::size_t ChannelSocket::read_app(proto::MutableBytes room) {
  if (!fd_) {  // finished before it was attached
    host_->mux().set_ready(handle_, false);
    ending_.all_read();
    go_on();
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
    if (emptied && !eof_ahead_ && !ending_.finishing()) host_->mux().set_ready(handle_, false);
    return static_cast<std::size_t>(n);
  }
  nothing_read(n);
  return 0;
}

/// What recvmsg says when it has no bytes: `n` is its result, at most 0.
void ChannelSocket::nothing_read(ssize_t n) {
  host_->mux().set_ready(handle_, false);
  if (n == 0) {
    ending_.app_ended();
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    ending_.all_read();
  } else {
    ending_.app_broken();  // ECONNRESET: it closed while bytes for it lay unread
  }
  go_on();
}

void ChannelSocket::look_for_end() {
  const bool may_be_next = eof_ahead_ || ending_.finishing();
  if (over() || ending_.complete() || !may_be_next) return;
  if (host_->mux().has_credit(handle_)) return;  // it is read in its turn
  char byte;
  ssize_t n;
  do {
    n = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) nothing_read(n);
}

void ChannelSocket::finish() {
  // What the app wrote before is in the socket: the pump reads until it is empty, and then ends.
  if (ending_.finish()) {
    host_->mux().set_ready(handle_, true);
    host_->channel_has_work();
    look_for_end();
  }
  go_on();
}

// ---- from the peer to the app ----

void ChannelSocket::deliver(proto::Bytes bytes) {
  if (over()) return;
  const std::size_t taken = fd_ && held_.empty() ? write_app(bytes) : 0;
  if (over()) return;
  if (!held_.append(bytes.subspan(taken))) {
    // The mux lets nobody pass its window, or what the brake leaves, which is held_'s bound.
    ending_.end();
    ends_->channel_over(*this, proto::Reason::kInternal, "more data than the channel may hold");
  }
}

void ChannelSocket::write_held() {
  while (!held_.empty() && !over()) {
    const std::size_t taken = write_app(held_.data());
    if (taken == 0) return;
    held_.consume(taken);
  }
  go_on();
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
    ending_.app_broken();
    go_on();
  }
  return taken;
}

void ChannelSocket::peer_ended() {
  ending_.peer_ended();
  go_on();
}

}  // namespace connd::daemon
