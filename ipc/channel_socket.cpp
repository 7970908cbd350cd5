// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/channel_socket.h"

#include <utility>

#include "ipc/client_channels.h"

namespace connd::ipc {

Outcome<void> ChannelEnd::result() const {
  if (clean()) return {};
  return make_error(reason, {}, detail);
}

ChannelSocket& ChannelSocket::operator=(ChannelSocket&& other) noexcept {
  if (this == &other) return *this;
  forget();
  fd_ = std::move(other.fd_);
  state_ = std::move(other.state_);
  return *this;
}

ChannelSocket::~ChannelSocket() {
  forget();
}

void ChannelSocket::forget() {
  // The Client keeps the state until the end is told; nobody is left to hear of it.
  if (state_) state_->on_closed = nullptr;
}

void ChannelSocket::finish() {
  if (state_->link->channels != nullptr) state_->link->channels->finish(state_->handle);
}

void ChannelSocket::on_closed(ClosedHandler handler) {
  state_->on_closed = std::move(handler);
  if (state_->end && state_->link->channels != nullptr) state_->link->channels->tell_end_later(state_);
}

Outcome<ChannelEnd> ChannelSocket::wait_end(std::chrono::milliseconds timeout) {
  // The state is held here: a callback that runs meanwhile may destroy this object.
  const std::shared_ptr<detail::ChannelState> state = state_;
  if (!state->end && state->link->channels != nullptr) state->link->channels->wait_end(*state, timeout);
  if (state->end) return *state->end;
  return make_error(Reason::kTimedOut, "the channel has not ended in time");
}

}  // namespace connd::ipc
