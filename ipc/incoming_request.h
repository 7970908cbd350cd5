// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// IncomingRequest: a peer's wish to open a channel, for a listener in mode `ask` to answer.
///
/// Owned by the app, which may keep it while it makes up its mind: the daemon waits 30 s, then declines by itself.
/// Destroying it unanswered declines. Used on the Client's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ipc/api.h"
#include "ipc/channel_socket.h"
#include "ipc/error.h"

namespace connd::ipc {

namespace detail {
/// Owned by the IncomingRequest, and by the Client until it is answered or cancelled: hence shared.
struct RequestState {
  std::shared_ptr<ClientLink> link;  // owned by the Client and by all that must notice that it is gone
  ChannelRequested request;
  bool cancelled = false;
};
}  // namespace detail

class IncomingRequest {
 public:
  using ChannelHandler = std::function<void(Outcome<ChannelSocket>)>;

  IncomingRequest(IncomingRequest&&) noexcept = default;
  IncomingRequest& operator=(IncomingRequest&& other) noexcept;
  ~IncomingRequest();

  [[nodiscard]] const std::string& device() const { return state_->request.peer; }
  [[nodiscard]] const std::string& account() const { return state_->request.account; }
  [[nodiscard]] const std::string& uri() const { return state_->request.uri; }
  /// True once the peer has given up, or the daemon's time for an answer is over.
  [[nodiscard]] bool cancelled() const { return state_->cancelled; }

  /// Accepts; `handler` gets the channel, or `cancelled`, `not-found` and the like. At most one of accept and decline
  /// has an effect: the first.
  void accept(ChannelHandler handler);
  /// Declines with a text that the peer is shown.
  void decline(std::string text = {});

 private:
  friend class ClientChannels;
  explicit IncomingRequest(std::shared_ptr<detail::RequestState> state) : state_(std::move(state)) {}

  std::shared_ptr<detail::RequestState> state_;  // the Client is the other owner
  bool answered_ = false;
};

}  // namespace connd::ipc
