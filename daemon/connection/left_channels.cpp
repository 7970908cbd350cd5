// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/left_channels.h"

namespace connd::daemon {

bool LeftChannels::take(std::unique_ptr<ChannelSocket>& channel) {
  const std::size_t bytes = channel->held();
  if (bytes > max_bytes_ - bytes_) return false;
  channel->leave_connection(*this);
  bytes_ += bytes;
  const proto::ChannelHandle handle = channel->handle();
  channels_.emplace(handle, Entry{std::move(channel), bytes});
  return true;
}

bool LeftChannels::close(proto::ChannelHandle channel, proto::Reason reason, std::string_view text) {
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return false;
  channel_over(*it->second.channel, reason, text);
  return true;
}

void LeftChannels::close_all(proto::Reason reason, std::string_view text) {
  while (!channels_.empty()) close(channels_.begin()->first, reason, text);
}

proto::Result<void> LeftChannels::attach_app(proto::ChannelHandle channel, ipc::Fd fd, EdgePoller& poller) {
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return std::make_error_code(std::errc::operation_canceled);
  return it->second.channel->attach(std::move(fd), poller);
}

const ChannelSocket* LeftChannels::find(proto::ChannelHandle channel) const {
  const auto it = channels_.find(channel);
  return it == channels_.end() ? nullptr : it->second.channel.get();
}

void LeftChannels::channel_over(ChannelSocket& channel, proto::Reason reason, std::string_view text) {
  const auto it = channels_.find(channel.handle());
  if (it == channels_.end()) return;
  const ChannelEnd end = channel.end(told_here(reason), std::string(text));
  channel.shut();
  bytes_ -= it->second.bytes;
  over_.push_back(std::move(it->second.channel));
  channels_.erase(it);
  request_turn();
  on_end_(end);
}

bool LeftChannels::on_turn() {
  over_.clear();
  return false;
}

}  // namespace connd::daemon
