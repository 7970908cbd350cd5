// SPDX-License-Identifier: GPL-3.0-or-later
/// LeftChannels: channels that had ended well in both directions when their connection went, and hold bytes that their
/// apps have not taken. The connection is no loss to them: they end `closed` when all is taken.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/connection/channel_socket.h"
#include "daemon/event_loop/turn_queue.h"

namespace connd::daemon {

class LeftChannels final : private ChannelEnds, private TurnClient {
 public:
  /// Connections that may leave as much as each may hold: one slow app may fill one (proto::Brake), and another has to
  /// find room then.
  static constexpr std::uint64_t kConnections = 4;

  /// `max_bytes`: held by all of them, when they came; an app that never reads costs no more. `on_end` is told each
  /// end, once; it does not destroy this object.
  LeftChannels(TurnQueue& turns, std::uint64_t max_bytes, std::function<void(const ChannelEnd&)> on_end)
      : TurnClient(turns), max_bytes_(max_bytes), on_end_(std::move(on_end)) {}

  /// Takes `channel`, which is null then. False when there is no room.
  bool take(std::unique_ptr<ChannelSocket>& channel);
  /// Ends one as told: the app gets no more of it. False when there is no such channel.
  bool close(proto::ChannelHandle channel, proto::Reason reason, std::string_view text);
  void close_all(proto::Reason reason, std::string_view text);
  /// As ConnectionChannels::attach_app.
  proto::Result<void> attach_app(proto::ChannelHandle channel, ipc::Fd fd, EdgePoller& poller);
  [[nodiscard]] const ChannelSocket* find(proto::ChannelHandle channel) const;

 private:
  struct Entry {
    std::unique_ptr<ChannelSocket> channel;
    std::size_t bytes;  ///< of max_bytes_
  };
  void channel_over(ChannelSocket& channel, proto::Reason reason, std::string_view text) override;
  bool on_turn() override;

  const std::uint64_t max_bytes_;
  const std::function<void(const ChannelEnd&)> on_end_;
  std::unordered_map<proto::ChannelHandle, Entry> channels_;
  std::vector<std::unique_ptr<ChannelSocket>> over_;  ///< ended; destroyed at the end of the turn
  std::uint64_t bytes_ = 0;
};

}  // namespace connd::daemon
