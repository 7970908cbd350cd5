// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/connection_channels.h"

#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include "ipc/fd_pass.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

/// Tens of thousands of channels may end with their connection: so many do in one turn.
constexpr std::size_t kEndsPerTurn = 32;

/// A channel that watches its end of a new socketpair, and the app's end.
struct NewChannel {
  std::unique_ptr<ChannelSocket> channel;
  ipc::Fd apps;
};

proto::Result<NewChannel> make_channel(ChannelHost& host, EdgePoller& poller, proto::ChannelHandle handle,
                                       const ChannelOptions& options) {
  if (options.detached) {
    return NewChannel{std::make_unique<ChannelSocket>(host, handle, ipc::Fd(), options), ipc::Fd()};
  }
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return std::error_code{errno, std::system_category()};
  }
  ipc::Fd ours(fds[0]);
  (void)ipc::refuse_fds(ours.get());  // what an app sends is bytes
  NewChannel ends{nullptr, ipc::Fd(fds[1])};
  ends.channel = std::make_unique<ChannelSocket>(host, handle, std::move(ours), options);
  if (const auto started = ends.channel->start(poller); !started) return started.error();
  return ends;
}

}  // namespace

// ---- for the local side ----

proto::Result<ipc::Fd> ConnectionChannels::accept(proto::ChannelHandle channel, const ChannelOptions& options) {
  if (mux_ == nullptr || life_.ending()) return make_error_code(proto::Errc::kGoingAway);
  // Before the accept: without a descriptor the peer hears a refusal, not an accepted channel that ends at once.
  auto ends = make_channel(*this, context_.poller, channel, options);
  if (!ends) {
    refuse(channel, proto::Reason::kResourceLimit, "the peer's jami-connd has no file descriptor free");
    return ends.error();
  }
  if (!mux_->accept(channel, now())) return make_error_code(std::errc::operation_canceled);
  add(channel, std::move(ends->channel));
  return std::move(ends->apps);
}

proto::Result<ipc::Fd> ConnectionChannels::attach(proto::ChannelHandle channel, const ChannelOptions& options) {
  owner_.channels_have_work();
  auto ends = make_channel(*this, context_.poller, channel, options);
  if (!ends) {
    mux_->reset(channel, proto::Reason::kResourceLimit, "the peer's jami-connd has no file descriptor free");
    return ends.error();
  }
  add(channel, std::move(ends->channel));
  return std::move(ends->apps);
}

void ConnectionChannels::add(proto::ChannelHandle handle, std::unique_ptr<ChannelSocket> channel) {
  mux_->set_user(handle, channel.get());
  channels_.emplace(handle, std::move(channel));
  owner_.channels_have_work();
}

proto::Result<void> ConnectionChannels::attach_app(proto::ChannelHandle handle, ipc::Fd fd) {
  ChannelSocket* channel = look_up(handle);
  if (channel == nullptr) return std::make_error_code(std::errc::operation_canceled);
  return channel->attach(std::move(fd), context_.poller);
}

void ConnectionChannels::refuse(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  if (mux_ == nullptr) return;
  mux_->refuse(channel, reason, text);
  owner_.channels_have_work();
}

void ConnectionChannels::cancel(proto::ChannelHandle channel, proto::Reason reason) {
  if (mux_ == nullptr) return;
  pace_.cancelled(now());
  mux_->reset(channel, reason, {});
  owner_.channels_have_work();
}

bool ConnectionChannels::finish(proto::ChannelHandle handle) {
  ChannelSocket* channel = look_up(handle);
  if (channel == nullptr) return false;
  channel->finish();
  return true;
}

bool ConnectionChannels::close(proto::ChannelHandle handle, proto::Reason reason, std::string_view text) {
  ChannelSocket* channel = look_up(handle);
  if (channel == nullptr) return false;
  channel_over(*channel, reason, text);
  return true;
}

// ---- bytes ----

void ConnectionChannels::on_event(const proto::MuxEvent& event) {
  if (event.kind == proto::MuxEvent::Kind::kReset) return close_from_peer(event);
  if (event.user == nullptr) {
    // Its owner did not attach it.
    return mux_->reset(event.channel, proto::Reason::kInternal, "the peer's jami-connd has nobody who takes it");
  }
  auto& channel = static_cast<ChannelSocket&>(*event.user);
  if (event.kind == proto::MuxEvent::Kind::kData) {
    channel.deliver(event.data);
  } else {
    channel.peer_ended();
  }
}

void ConnectionChannels::serve(const proto::Mux::Turn& turn) {
  if (turn.user == nullptr) return mux_->set_ready(turn.channel, false);
  auto& channel = static_cast<ChannelSocket&>(*turn.user);
  const std::size_t n = channel.read_app(mux_->prepare(turn.bytes));
  if (n == 0) return;
  mux_->commit(turn.channel, n);
  channel.look_for_end();
}

// ---- ends ----

void ConnectionChannels::channel_over(ChannelSocket& channel, proto::Reason reason, std::string_view text) {
  const auto it = channels_.find(channel.handle());
  if (it == channels_.end()) return;
  if (reason == proto::Reason::kClosed) {
    mux_->release(channel.handle());
  } else {
    mux_->reset(channel.handle(), reason, text);
  }
  owner_.channels_have_work();
  bury(it, channel.end(told_here(reason), std::string(text)));
}

/// The mux has forgotten the channel already.
void ConnectionChannels::close_from_peer(const proto::MuxEvent& event) {
  const auto it = channels_.find(event.channel);
  if (it == channels_.end()) return;
  // `cancelled` is what the side that aborts is told; to the other one it is a reset.
  const bool aborted = event.reason == proto::Reason::kCancelled;
  bury(it, it->second->end(aborted ? proto::Reason::kReset : event.reason, event.text));
}

void ConnectionChannels::bury(Channels::iterator it, const ChannelEnd& end) {
  it->second->shut();
  over_.push_back(std::move(it->second));
  channels_.erase(it);
  owner_.channel_closed(end);
}

void ConnectionChannels::begin_end() {
  ending_ = std::move(channels_);
  channels_.clear();
}

bool ConnectionChannels::end_some() {
  for (std::size_t i = 0; i < kEndsPerTurn && !ending_.empty(); ++i) {
    std::unique_ptr<ChannelSocket> channel = std::move(ending_.extract(ending_.begin()).mapped());
    if (channel->ended_on_wire()) owner_.channel_left(channel);
    if (channel) owner_.channel_closed(channel->end(life_.reason_for_channels(), life_.text()));
  }
  return !ending_.empty();
}

ChannelSocket* ConnectionChannels::look_up(proto::ChannelHandle handle) const {
  const auto it = channels_.find(handle);
  return it == channels_.end() ? nullptr : it->second.get();
}

}  // namespace connd::daemon
