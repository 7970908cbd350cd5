// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/pump.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <sys/socket.h>
#include <sys/stat.h>

namespace connd::tools {
namespace {

// Half of what a socket pair holds, so that its two ends work at the same time; larger brought nothing.
constexpr std::size_t kBufferBytes = std::size_t{128} << 10;
// What a pipe can hold at most without privileges.
constexpr std::size_t kSpliceBytes = std::size_t{1} << 20;
// Before the loop looks at the control connection and at signals again.
constexpr int kStepsPerRun = 16;

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

Pump::Kind Pump::kind_of(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return Kind::kOther;
  if (S_ISFIFO(info.st_mode)) return Kind::kPipe;
  return S_ISSOCK(info.st_mode) ? Kind::kSocket : Kind::kOther;
}

Pump::Pump(int source, int sink)
    : source_(source),
      sink_(sink),
      source_kind_(kind_of(source)),
      sink_kind_(kind_of(sink)),
      splice_(source_kind_ == Kind::kPipe || sink_kind_ == Kind::kPipe) {}

void Pump::prepare(PollSet& set) {
  source_index_ = sink_index_ = PollSet::kNone;
  if (!running()) return;
  const bool holds = at_ < filled_;
  if (!holds && !source_ready_) source_index_ = set.add(source_, POLLIN);
  if ((holds || splice_) && !sink_ready_) sink_index_ = set.add(sink_, POLLOUT);
  // Both ready: it was this turn's bound that stopped us, and no event would ever wake us for what is there already.
  if (source_index_ == PollSet::kNone && sink_index_ == PollSet::kNone) set.wake_at(Clock::time_point{});
}

void Pump::run(const PollSet& set) {
  source_ready_ = source_ready_ || set.ready(source_index_);
  sink_ready_ = sink_ready_ || set.ready(sink_index_);
  bool moved = false;
  for (int steps = 0; running() && steps < kStepsPerRun && step(); ++steps) moved = true;
  if (moved) last_move_ = Clock::now();
}

void Pump::stop() {
  if (running()) state_ = State::kStopped;
}

bool Pump::failed(State state, int error) {
  state_ = state;
  error_ = error;
  return false;
}

/// True when something was moved.
bool Pump::step() {
  if (splice_) return source_ready_ && sink_ready_ && splice_some();
  if (at_ == filled_) return source_ready_ && fill();
  // A sink that is a socket may be tried without asking poll: send does not block.
  return (sink_ready_ || sink_kind_ == Kind::kSocket) && drain();
}

bool Pump::splice_some() {
  const ssize_t n = ::splice(source_, nullptr, sink_, nullptr, kSpliceBytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n > 0) return true;
  if (n == 0) return failed(State::kEnded, 0);
  if (would_block(errno)) {
    source_ready_ = sink_ready_ = false;  // it does not say which: poll does
    return false;
  }
  if (errno == EINVAL) {  // this kind of file cannot
    splice_ = false;
    return step();
  }
  // Of the two, the one that only a write can meet is EPIPE; the rest is taken for the source's.
  return failed(errno == EPIPE ? State::kWriteFailed : State::kReadFailed, errno);
}

bool Pump::fill() {
  if (buffer_.empty()) buffer_.resize(kBufferBytes);
  const bool socket = source_kind_ == Kind::kSocket;
  const ssize_t n = socket ? ::recv(source_, buffer_.data(), buffer_.size(), MSG_DONTWAIT)
                           : ::read(source_, buffer_.data(), buffer_.size());
  // A second read of what is no socket could block: poll is asked first.
  source_ready_ = socket && n > 0;
  if (n < 0) return would_block(errno) ? false : failed(State::kReadFailed, errno);
  if (n == 0) return failed(State::kEnded, 0);
  at_ = 0;
  filled_ = static_cast<std::size_t>(n);
  return true;
}

bool Pump::drain() {
  const std::size_t left = filled_ - at_;
  const bool socket = sink_kind_ == Kind::kSocket;
  // pipe(7): after POLLOUT a pipe takes PIPE_BUF bytes without blocking, and maybe no more.
  const std::size_t size = sink_kind_ == Kind::kPipe ? std::min<std::size_t>(left, PIPE_BUF) : left;
  const ssize_t n = socket ? ::send(sink_, buffer_.data() + at_, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                           : ::write(sink_, buffer_.data() + at_, size);
  sink_ready_ = socket && n > 0;
  if (n < 0) return would_block(errno) ? false : failed(State::kWriteFailed, errno);
  at_ += static_cast<std::size_t>(n);
  return true;
}

}  // namespace connd::tools
