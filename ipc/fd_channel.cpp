// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/fd_channel.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "ipc/fd_pass.h"
#include "ipc/limits.h"

namespace connd::ipc {
namespace {
constexpr const char* kUnannounced = "a file descriptor came that no line announced";
}  // namespace

namespace {

/// A client reads what its daemon says, lists of thousands too; a daemon reads what strangers say.
std::optional<RequestWalker> walker_for(const FdChannel::Options& options) {
  if (options.role == Role::kClient) return std::nullopt;
  return RequestWalker(options.administrator);
}

}  // namespace

FdChannel::FdChannel(Fd socket, Options options)
    : socket_(std::move(socket)), options_(options), codec_(kMaxLineBytes, walker_for(options)) {
  const auto set = set_nonblocking(socket_.get());
  // All calls pass MSG_DONTWAIT as well, so a socket that refuses the flag still works.
  static_cast<void>(set);
}

bool FdChannel::on_readable() {
  if (ended_ || read_failure_) return false;
  const std::size_t room = std::min(codec_.room(), kReadChunkBytes);
  if (room == 0) return false;
  const bool takes_fds = options_.role == Role::kClient;
  const auto received = receive_with_fds(socket_.get(), codec_.prepare(room), takes_fds ? &received_fds_ : nullptr);
  if (!received && options_.role == Role::kServer && received.error() == std::errc::connection_reset) {
    // It closed with answers unread, which is its right. A client that misses answers has lost them.
    read_failure_ = Ended{};
    return true;
  }
  if (!received) {
    read_failure_ = Ended{make_error(Reason::kConnectionLost, received.error().message()), false};
    return true;
  }
  if (received->would_block) return false;
  codec_.commit(received->bytes);
  if (received->truncated && !takes_fds) {
    read_failure_ = Ended{make_error(Reason::kProtocolError, kUnannounced), true};
  } else if (received->truncated) {
    read_failure_ =
        Ended{make_error(Reason::kResourceLimit, "a file descriptor was lost: too many at once, or none free"), true};
  } else if (received->bytes == 0) {
    read_failure_ = Ended{};
  }
  return true;
}

FdChannel::Outcome FdChannel::end(Reason reason, std::string text, bool answer) {
  received_fds_.clear();
  ended_ = Ended{make_error(reason, std::move(text)), answer};
  return *ended_;
}

FdChannel::Outcome FdChannel::next() {
  if (ended_) return *ended_;
  // After a truncation nothing tells which line the lost fd belonged to, so no line is given any more.
  if (read_failure_ && read_failure_->error) {
    received_fds_.clear();
    ended_ = std::move(read_failure_);
    return *ended_;
  }
  LineCodec::Outcome outcome = codec_.next();
  if (const auto* line = std::get_if<LineCodec::Line>(&outcome)) {
    return take(parse_message(line->text, options_.role));
  }
  if (const auto* error = std::get_if<LineCodec::Error>(&outcome)) return unusable_line(*error);
  return at_end_of_lines();
}

/// The line is answered now, whatever its rest says; it is skipped.
FdChannel::Outcome FdChannel::refused_line() {
  const RequestWalker& walker = codec_.walker();
  Json id = Json::parse(walker.id(), nullptr, /*allow_exceptions=*/false);
  if (id.is_discarded() || !is_good_id(id)) id = nullptr;
  if (walker.verdict() == RequestWalker::Verdict::kTooDeep) {
    return Incoming{Malformed{nullptr, make_rpc_error(kParseError, "JSON nested deeper than 32 levels")}, {}};
  }
  std::string text = "more than " + std::to_string(kMaxRequestElements) + " elements";
  if (walker.verdict() == RequestWalker::Verdict::kTooLong) {
    text = "a line of this method, or before its method, is at most " + std::to_string(walker.bound()) + " bytes long";
  }
  return Incoming{Malformed{std::move(id), make_rpc_error(kInvalidRequest, std::move(text))}, {}};
}

FdChannel::Outcome FdChannel::unusable_line(LineCodec::Error error) {
  switch (error) {
    case LineCodec::Error::kRefused:
      return refused_line();
    case LineCodec::Error::kTooLong:
      end(Reason::kProtocolError, {}, !codec_.skipping());
      ended_->error = make_rpc_error(kInvalidRequest, "a line is at most 1048576 bytes long");
      return *ended_;
    case LineCodec::Error::kNul:
      return Incoming{Malformed{nullptr, make_rpc_error(kParseError, "the line holds a NUL byte")}, {}};
    case LineCodec::Error::kNotUtf8:
      break;
  }
  return Incoming{Malformed{nullptr, make_rpc_error(kParseError, "the line is not UTF-8")}, {}};
}

FdChannel::Outcome FdChannel::take(Message message) {
  const int count = fds_of(message);
  if (count < 0) return end(Reason::kProtocolError, "fds: expected 0 or 1", true);
  if (count == 0) return Incoming{std::move(message), {}};
  if (received_fds_.empty())
    return end(Reason::kProtocolError, "fds: a file descriptor is announced but none came", true);
  Fd fd = std::move(received_fds_.front());
  received_fds_.pop_front();
  return Incoming{std::move(message), std::move(fd)};
}

/// Every whole line has been parsed. A fd comes with the first byte of its line, so what is still here belongs to the
/// line that is under way, or to none.
FdChannel::Outcome FdChannel::at_end_of_lines() {
  const std::size_t expected = codec_.holds_part() ? kMaxFdsPerMessage : 0;
  if (received_fds_.size() > expected) {
    return end(Reason::kProtocolError, kUnannounced, true);
  }
  if (!read_failure_) return NeedMore{};
  if (codec_.holds_part()) {
    end(Reason::kProtocolError, {}, !codec_.skipping());
    ended_->error = make_rpc_error(kParseError, "the last line has no LF");
    return *ended_;
  }
  ended_ = std::move(read_failure_);
  return *ended_;
}

bool FdChannel::send(std::string line, Fd fd) {
  assert(line.find('\n') == std::string::npos);
  const std::size_t size = line.size() + 1;
  if (send_failed_ || size > options_.max_queued_bytes - std::min(queued_bytes_, options_.max_queued_bytes))
    return false;
  line += '\n';
  queued_bytes_ += size;
  if (fd) ++queued_fds_;
  out_.push_back({std::move(line), std::move(fd)});
  return true;
}

bool FdChannel::may_send_fd() {
  if (uncollected_ > 0 && all_collected(socket_.get())) uncollected_ = 0;
  return uncollected_ < options_.max_uncollected_fds;
}

/// True when the front is gone and the next may be tried.
bool FdChannel::send_front() {
  Outgoing& front = out_.front();
  if (front.fd && !may_send_fd()) {
    stalled_ = true;
    return false;
  }
  const auto rest = proto::as_bytes(front.bytes).subspan(front.sent);
  const auto sent = send_with_fd(socket_.get(), rest, front.fd.get());
  if (!sent) {
    send_failed_ = true;
    out_.clear();
    queued_bytes_ = queued_fds_ = 0;
    return false;
  }
  if (sent->outcome == Sent::Outcome::kFdsInUse) stalled_ = true;
  if (sent->outcome != Sent::Outcome::kDone) return false;
  if (front.fd) {
    // Gone with the first byte, however short the send was: the rest goes without it.
    front.fd.reset();
    --queued_fds_;
    ++uncollected_;
  }
  front.sent += sent->bytes;
  queued_bytes_ -= sent->bytes;
  if (front.sent < front.bytes.size()) return true;  // the next try says kWouldBlock
  out_.pop_front();
  return true;
}

bool FdChannel::on_writable(std::size_t most) {
  const std::size_t before = queued_bytes_;
  while (wants_write() && send_front()) {
    if (before - queued_bytes_ >= most) return wants_write();
  }
  return false;
}

void FdChannel::retry_fds() {
  if (!stalled_) return;
  stalled_ = false;
  on_writable();
}

}  // namespace connd::ipc
