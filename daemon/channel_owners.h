// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelOwners: which client a channel belongs to. Pure.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include <sys/types.h>

#include "daemon/listener_table.h"
#include "proto/mux.h"

namespace connd::daemon {

/// A channel from the moment when its fd was given out to its end.
struct OwnedChannel {
  ClientNumber client = 0;  ///< 0: its client has gone; the channel lives on as long as its fd
  uid_t uid = static_cast<uid_t>(-1);
  pid_t pid = -1;
  proto::DeviceId device;
  proto::AccountId account;
  std::string uri;
  bool outgoing = false;
};

class ChannelOwners {
 public:
  void add(proto::ChannelHandle channel, OwnedChannel owned) {
    if (owned.client != 0) ++counts_[owned.client];
    channels_.emplace(channel, std::move(owned));
  }
  /// The entry, taken out; nothing when there is none.
  std::optional<OwnedChannel> take(proto::ChannelHandle channel) {
    const auto it = channels_.find(channel);
    if (it == channels_.end()) return std::nullopt;
    OwnedChannel owned = std::move(it->second);
    channels_.erase(it);
    if (const auto count = counts_.find(owned.client); count != counts_.end() && --count->second == 0) {
      counts_.erase(count);
    }
    return owned;
  }
  [[nodiscard]] const OwnedChannel* find(proto::ChannelHandle channel) const {
    const auto it = channels_.find(channel);
    return it == channels_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] std::size_t count_of(ClientNumber client) const {
    const auto it = counts_.find(client);
    return it == counts_.end() ? 0 : it->second;
  }
  /// The client has gone.
  void orphan(ClientNumber client) {
    if (counts_.erase(client) == 0) return;
    for (auto& [channel, owned] : channels_) {
      if (owned.client == client) owned.client = 0;
    }
  }
  [[nodiscard]] std::size_t size() const { return channels_.size(); }

 private:
  std::unordered_map<proto::ChannelHandle, OwnedChannel> channels_;
  std::unordered_map<ClientNumber, std::size_t> counts_;
};

}  // namespace connd::daemon
