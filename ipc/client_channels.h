// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// ClientChannels: what an app has of the daemon's channels, requests and listeners, by the numbers that the daemon
/// gave them. The part of Client that ChannelSocket and IncomingRequest speak to.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "ipc/calls.h"
#include "ipc/channel_socket.h"
#include "ipc/client.h"
#include "ipc/incoming_request.h"

namespace connd::ipc {

/// Used on the Client's thread, and destroyed with it. `calls` outlives it.
class ClientChannels {
 public:
  using ChannelHandler = Client::ChannelHandler;
  struct Listener {
    Client::OpenedHandler on_opened;
    Client::AskHandler on_ask;
  };

  explicit ClientChannels(Calls& calls);
  /// Channels that are left get their end, requests are cancelled; nobody is called.
  ~ClientChannels();
  ClientChannels(const ClientChannels&) = delete;
  ClientChannels& operator=(const ClientChannels&) = delete;

  // ---- channels ----

  /// The call's number, or 0: nothing was asked, and the handler hears why.
  std::uint64_t open(std::string_view peer, std::string_view uri, ChannelHandler handler,
                     const Client::OpenOptions& options);
  /// A handler of both, from one that takes a channel alone (Client::connect_device).
  ChannelHandler or_ended(std::string_view uri, Client::OpenedHandler handler);
  void finish(std::uint64_t handle);
  void tell_end_later(const std::shared_ptr<detail::ChannelState>& state);
  /// Until the channel has ended, or the time is over.
  void wait_end(const detail::ChannelState& state, Calls::Milliseconds timeout);

  // ---- listeners, and the requests that they are asked ----

  void listen(std::string_view uri, const Client::ListenOptions& options, ListenMode mode, Listener listener,
              Client::ListenHandler done);
  /// Blocks for at most the timeout. A listener that is there only after that is removed again.
  [[nodiscard]] Outcome<std::uint64_t> listen(std::string_view uri, const Client::ListenOptions& options,
                                              ListenMode mode, Listener listener, Calls::Milliseconds timeout);
  void stop_listening(std::uint64_t listener);
  void accept(const std::shared_ptr<detail::RequestState>& state, ChannelHandler handler);
  void decline(const std::shared_ptr<detail::RequestState>& state, std::string text);

  // ---- from the daemon ----

  /// False: it is about none of these.
  bool notified(const Notification& note, Fd& fd);
  /// The ends of all that was open are told later.
  void connection_lost(const Error& error);

 private:
  Outcome<ChannelSocket> opened(const Outcome<Json>& reply, Fd fd, std::string uri);
  ChannelSocket make_channel(const ChannelOpenResult& opened, std::string uri, Fd fd);
  void take_opened(const Json& params, Fd fd);
  void take_request(const Json& params);
  void take_cancelled(const Json& params);
  void take_closed(const Json& params);

  Calls& calls_;
  std::shared_ptr<detail::ClientLink> link_;  // shared with what may outlive us: channels and requests
  std::map<std::uint64_t, std::shared_ptr<detail::ChannelState>> channels_;  // until their end is told
  std::map<std::uint64_t, std::shared_ptr<detail::RequestState>> requests_;  // until answered or cancelled
  std::map<std::uint64_t, Listener> listeners_;
};

}  // namespace connd::ipc
