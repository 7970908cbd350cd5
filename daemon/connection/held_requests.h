// SPDX-License-Identifier: GPL-3.0-or-later
/// HeldRequests: peers' requests for a unique channel that wait until ours for that name, on another connection, has
/// its answer (proto/PROTOCOL.md, section 11). At most one for each connection and unique open of ours.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/connection/multiplexed_socket.h"
#include "daemon/connection/open_request.h"

namespace connd::daemon {

class HeldRequests {
 public:
  struct Held {
    ConnectionNumber connection;
    std::string uri;
  };

  /// `offer_soon`: in a later turn, what takers() wait for is to be given to them, and the rest offered to listeners.
  explicit HeldRequests(std::function<void()> offer_soon) : offer_soon_(std::move(offer_soon)) {}

  void hold(proto::ChannelHandle channel, ConnectionNumber connection, const std::string& uri) {
    held_.emplace(channel, Held{connection, uri});
  }
  [[nodiscard]] bool contains(proto::ChannelHandle channel) const { return held_.contains(channel); }
  /// An open of ours is to have one of them.
  void wanted_by(OpenNumber open) {
    takers_.push_back(open);
    offer_soon_();
  }
  /// Something has ended that they may have waited for.
  void look() {
    if (!held_.empty()) offer_soon_();
  }
  /// Those that wanted one since the last call.
  std::vector<OpenNumber> takers() { return std::exchange(takers_, {}); }
  /// Nothing, if it is not held, or not any more.
  std::optional<Held> take(proto::ChannelHandle channel) {
    auto node = held_.extract(channel);
    return node.empty() ? std::nullopt : std::optional(std::move(node.mapped()));
  }
  /// They go with their connection.
  void drop(ConnectionNumber connection) {
    std::erase_if(held_, [connection](const auto& held) { return held.second.connection == connection; });
  }
  [[nodiscard]] std::vector<proto::ChannelHandle> channels() const {
    std::vector<proto::ChannelHandle> channels;
    for (const auto& [channel, request] : held_) channels.push_back(channel);
    return channels;
  }

 private:
  const std::function<void()> offer_soon_;
  std::unordered_map<proto::ChannelHandle, Held> held_;
  std::vector<OpenNumber> takers_;
};

}  // namespace connd::daemon
