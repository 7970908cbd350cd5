// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/incoming_request.h"

#include <utility>

#include "ipc/client_channels.h"

namespace connd::ipc {

IncomingRequest& IncomingRequest::operator=(IncomingRequest&& other) noexcept {
  if (this == &other) return *this;
  if (state_) decline();
  state_ = std::move(other.state_);
  answered_ = other.answered_;
  return *this;
}

IncomingRequest::~IncomingRequest() {
  if (state_) decline();
}

void IncomingRequest::accept(ChannelHandler handler) {
  if (std::exchange(answered_, true)) return;
  if (state_->link->channels != nullptr) state_->link->channels->accept(state_, std::move(handler));
}

void IncomingRequest::decline(std::string text) {
  if (std::exchange(answered_, true)) return;
  if (state_->link->channels != nullptr) state_->link->channels->decline(state_, std::move(text));
}

}  // namespace connd::ipc
