// SPDX-License-Identifier: GPL-3.0-or-later
/// Attachments: channels for clients that cannot receive a descriptor. Each has a token, and the connection to the
/// control socket that shows it becomes the channel; who comes too late finds the channel closed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/connection/connection_manager.h"
#include "daemon/event_loop/loop.h"
#include "daemon/local_api/attach_tokens.h"
#include "daemon/local_api/channel_taker.h"
#include "daemon/local_api/ipc_settings.h"

namespace connd::daemon {

class Attachments {
 public:
  /// `settings` outlives it, and may change.
  Attachments(Loop& loop, const IpcSettings& settings);
  /// Null: there is none, and no channel.
  void set_manager(ConnectionManager* manager) { manager_ = manager; }

  /// Why there can be no token for this one, or nothing: resource-limit.
  [[nodiscard]] std::optional<ipc::Error> no_room(const ChannelTaker& taker) const;
  /// A token for a channel that began detached. While it is not attached, its time runs.
  std::string make(const ChannelTaker& taker, proto::ChannelHandle channel);
  /// The channel of this token, once, for a client of the same user. Nothing: no such token, or it is over.
  std::optional<proto::ChannelHandle> take(std::string_view token, uid_t uid);
  /// The client's end of a channel that take() gave; none when the client has gone. Then the channel ends.
  void attach(proto::ChannelHandle channel, ipc::Fd socket);
  /// The channel has ended. Nothing when it waits for nobody.
  void forget(proto::ChannelHandle channel) { tokens_.forget(channel); }
  /// Nobody has this channel, or will: it ends.
  void abandon(proto::ChannelHandle channel, std::string_view text);
  /// The client has gone, and its channels that wait end.
  void abandon_all(ClientNumber client);

 private:
  void expire();

  Loop& loop_;
  const IpcSettings& settings_;
  ConnectionManager* manager_ = nullptr;
  AttachTokens tokens_;
  Timer timer_;
};

}  // namespace connd::daemon
