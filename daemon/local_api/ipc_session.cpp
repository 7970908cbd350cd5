// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/ipc_session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/ioctl.h>

#include "daemon/system/log.h"
#include "ipc/api_admin.h"

namespace connd::daemon {

ipc::Error answer_too_long() {
  return ipc::make_error(ipc::Reason::kResourceLimit, "the answer does not fit into a line of 1 MiB");
}

IpcSession::IpcSession(Loop& loop, Owner& owner, ClientNumber number, ipc::Fd socket, ipc::PeerCredentials credentials,
                       bool admin, std::size_t max_uncollected_fds)
    : loop_(loop),
      owner_(owner),
      number_(number),
      credentials_(std::move(credentials)),
      admin_(admin),
      channel_(std::move(socket), {.role = ipc::Role::kServer,
                                   .max_queued_bytes = ipc::kMaxQueuedBytes,
                                   .max_uncollected_fds = max_uncollected_fds,
                                   .administrator = admin}),
      poll_(loop, channel_.fd(), [this](int events) { on_ready(events); }),
      timer_(loop, [this] { on_timer(); }) {
  update();
}

// ---- in ----

void IpcSession::on_ready(int events) {
  const bool reads = (events & Poll::kReadable) != 0;
  const bool writes = (events & Poll::kWritable) != 0;
  // Usually the work is done before the poll looks again. Where it is not, the poll need not say it once more.
  waits_ = (reads && readable_) || (writes && unwritten_);
  readable_ = readable_ || reads;
  unwritten_ = unwritten_ || writes;
  update();
  owner_.on_session_ready(*this);
}

bool IpcSession::work() {
  working_ = true;
  if (std::exchange(unwritten_, false)) flush();
  if (state_ == State::kOpen && !more_ && std::exchange(readable_, false)) {
    channel_.retry_fds();  // a sign of life: it may have collected some
    more_ = channel_.on_readable();
  }
  if (state_ == State::kOpen && more_) process();
  const bool more = state_ != State::kGone && (unwritten_ || (state_ == State::kOpen && (more_ || readable_)));
  waits_ = waits_ && more;
  working_ = false;
  update();
  return more;
}

void IpcSession::process() {
  more_ = false;
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < kLinesPerPiece && (i == 0 || std::chrono::steady_clock::now() - begun < kTimePerPiece); ++i) {
    if (state_ != State::kOpen) return;
    ipc::FdChannel::Outcome outcome = channel_.next();
    if (auto* incoming = std::get_if<ipc::FdChannel::Incoming>(&outcome)) {
      take(std::move(*incoming));
    } else if (const auto* ended = std::get_if<ipc::FdChannel::Ended>(&outcome)) {
      return take_end(*ended);
    } else {
      return;
    }
  }
  more_ = state_ == State::kOpen;
}

void IpcSession::take(ipc::FdChannel::Incoming incoming) {
  if (auto* request = std::get_if<ipc::Request>(&incoming.message))
    return owner_.on_request(*this, std::move(*request));
  if (const auto* bad = std::get_if<ipc::Malformed>(&incoming.message)) fail(bad->id, bad->error);
}

void IpcSession::take_end(const ipc::FdChannel::Ended& ended) {
  if (ended.error && ended.answer) fail(nullptr, *ended.error);
  if (ended.error) spdlog::info("client={} ended: {}", number_, ended.error->message);
  if (state_ == State::kOpen) become(State::kEnding);
}

bool IpcSession::behind() const {
  if (state_ != State::kOpen) return false;
  if (more_ || readable_) return true;
  int unread = 0;  // bytes in the socket
  return ::ioctl(channel_.fd(), FIONREAD, &unread) == 0 && unread > 0;
}

// ---- out ----

void IpcSession::reply(const ipc::Json& id, ipc::Json result, ipc::Fd fd) {
  if (fd) result["fds"] = 1;
  std::string line = ipc::reply_line(id, std::move(result));
  if (line.size() > ipc::kMaxLineBytes) {
    return fail(id, answer_too_long());
  }
  send(std::move(line), std::move(fd));
}

void IpcSession::fail(const ipc::Json& id, const ipc::Error& error) {
  if (error.reason == ipc::Reason::kResourceLimit) owner_.count(Counted::kLimit);
  send(ipc::error_line(id, error), {});
}

void IpcSession::notify(std::string_view method, ipc::Json params, ipc::Fd fd) {
  if (fd) params["fds"] = 1;
  send(ipc::notification_line(method, std::move(params)), std::move(fd));
}

void IpcSession::send(std::string line, ipc::Fd fd) {
  if (state_ == State::kGone) return;
  if (!channel_.send(std::move(line), std::move(fd))) return drop();
  if (!working_) return write_soon();
  flush();
  update();
}

/// Outside of its turn a client's answers are written in the next one: a connection may bring a thousand at once.
void IpcSession::write_soon() {
  if (unwritten_ || !channel_.wants_write()) return;
  unwritten_ = true;
  owner_.on_session_ready(*this);
}

void IpcSession::drop() {
  // Without anything queued it is not the bound that was passed: the client has gone.
  if (channel_.queued_bytes() > 0) {
    spdlog::warn("client={} name={} dropped: it does not read", number_, log_quote(name_));
    owner_.count(Counted::kDropped);
  }
  become(State::kGone);
}

void IpcSession::flush() {
  if (state_ == State::kGone) return;
  unwritten_ = channel_.on_writable(kWrittenPerPiece);
  if (unwritten_) owner_.on_session_ready(*this);
  if (lost_ > 0 && channel_.queued_bytes() <= kMaxQueuedForEvents / 2) tell_lost();
  if (state_ == State::kDraining && channel_.queued_bytes() == 0) become(State::kGone);
}

ipc::Fd IpcSession::hand_over(const ipc::Json& id, ipc::Json result) {
  ipc::Fd socket;
  // Nothing is queued: the socket takes a line, unless its client has gone.
  if (channel_.send(ipc::reply_line(id, std::move(result)))) {
    (void)channel_.on_writable();
    if (channel_.queued_bytes() == 0 && channel_.idle()) socket = channel_.release();
  }
  become(State::kGone);
  return socket;
}

// ---- as a ChannelTaker ----

void IpcSession::channel_opened(const ipc::ChannelOpened& opened, ipc::Fd fd) {
  notify("channel.opened", ipc::write_members(opened), std::move(fd));
}

void IpcSession::channel_requested(const ipc::ChannelRequested& request) {
  notify("channel.request", ipc::write_members(request));
}

void IpcSession::channel_request_cancelled(const ipc::RequestCancelled& cancelled) {
  notify("channel.request_cancelled", ipc::write_members(cancelled));
}

void IpcSession::channel_closed(const ipc::ChannelClosed& closed) {
  notify("channel.closed", ipc::write_members(closed));
}

// ---- events ----

std::uint64_t IpcSession::subscribe() {
  subscribed_ = true;
  lost_ = 0;  // the snapshot that follows tells all of it
  return event_seq_;
}

void IpcSession::event(std::string_view members) {
  if (!subscribed_ || state_ != State::kOpen) return;
  ++event_seq_;
  if (lost_ > 0 || channel_.queued_bytes() > kMaxQueuedForEvents) {
    ++lost_;
    return owner_.count(Counted::kEventLost);
  }
  std::string line = R"({"jsonrpc":"2.0","method":"event","params":{"seq":)" + std::to_string(event_seq_) + ',';
  line += members;
  line += "}}";
  if (!channel_.send(std::move(line))) return drop();
  write_soon();
}

void IpcSession::tell_lost() {
  const ipc::EventsLost lost{event_seq_, std::exchange(lost_, 0)};
  if (subscribed_) notify("events.lost", ipc::write_members(lost));
}

// ---- the end ----

void IpcSession::close() {
  if (state_ == State::kOpen) become(State::kEnding);
}

void IpcSession::end() {
  if (state_ != State::kEnding) return;
  state_ = State::kDraining;
  drain_until_ = loop_.now() + kDrainTime;
  flush();
  update();
}

void IpcSession::become(State state) {
  if (state_ == state || state_ == State::kGone) return;
  state_ = state;
  more_ = false;
  update();
  owner_.on_session_moved(*this);
}

void IpcSession::on_timer() {
  const std::size_t unsent = channel_.queued_fds();
  if (channel_.stalled_for_fds()) channel_.retry_fds();
  flush();
  if (channel_.queued_fds() < unsent) owner_.on_session_ready(*this);  // there is room for others
  if (state_ == State::kDraining && loop_.now() >= drain_until_) become(State::kGone);
  update();
}

void IpcSession::update() {
  if (state_ == State::kGone) {
    poll_.want(0);
    return timer_.stop();
  }
  const int read = state_ == State::kOpen && !more_ ? Poll::kReadable : 0;
  const int write = channel_.wants_write() ? Poll::kWritable : 0;
  poll_.want(waits_ ? 0 : read | write);
  proto::TimePoint next = drain_until_;
  if (channel_.stalled_for_fds()) next = std::min(next, loop_.now() + kFdRetryTime);
  timer_.arm(next);
}

}  // namespace connd::daemon
