// SPDX-License-Identifier: GPL-3.0-or-later
/// ChannelOwners: which client a channel belongs to. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include <sys/types.h>

#include "daemon/local_api/listener_table.h"
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
    if (owned.client != 0) of_client_[owned.client].insert(channel);
    ++of_uid_[owned.uid];
    channels_.emplace(channel, std::move(owned));
  }
  /// The entry, taken out; nothing when there is none.
  std::optional<OwnedChannel> take(proto::ChannelHandle channel) {
    const auto it = channels_.find(channel);
    if (it == channels_.end()) return std::nullopt;
    OwnedChannel owned = std::move(it->second);
    channels_.erase(it);
    forget(owned.client, channel);
    if (const auto count = of_uid_.find(owned.uid); --count->second == 0) of_uid_.erase(count);
    return owned;
  }
  [[nodiscard]] const OwnedChannel* find(proto::ChannelHandle channel) const {
    const auto it = channels_.find(channel);
    return it == channels_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] std::size_t count_of(ClientNumber client) const { return channels_of(client).size(); }
  [[nodiscard]] const std::set<proto::ChannelHandle>& channels_of(ClientNumber client) const {
    static const std::set<proto::ChannelHandle> none;
    const auto it = of_client_.find(client);
    return it == of_client_.end() ? none : it->second;
  }
  /// Visits channels in the order of their handles, from the first one behind `after` on, until `visit` says false.
  template <class Visit>
  void each_after(proto::ChannelHandle after, const Visit& visit) const {
    for (auto it = channels_.upper_bound(after); it != channels_.end() && visit(it->first, it->second); ++it) {
    }
  }
  /// The same of one client's.
  template <class Visit>
  void each_after(ClientNumber client, proto::ChannelHandle after, const Visit& visit) const {
    const auto& its = channels_of(client);
    for (auto it = its.upper_bound(after); it != its.end() && visit(*it, channels_.at(*it)); ++it) {
    }
  }
  /// Those of a user, also when the client has gone.
  [[nodiscard]] std::size_t count_of_user(uid_t uid) const {
    const auto it = of_uid_.find(uid);
    return it == of_uid_.end() ? 0 : it->second;
  }
  /// The client has gone. At most `most` channels at a time: false while there are more.
  bool orphan(ClientNumber client, std::size_t most) {
    for (; most > 0; --most) {
      const auto its = of_client_.find(client);
      if (its == of_client_.end()) return true;
      const proto::ChannelHandle channel = *its->second.begin();
      channels_.at(channel).client = 0;
      forget(client, channel);
    }
    return !of_client_.contains(client);
  }
  [[nodiscard]] std::size_t size() const { return channels_.size(); }

 private:
  void forget(ClientNumber client, proto::ChannelHandle channel) {
    const auto its = of_client_.find(client);
    if (its == of_client_.end()) return;
    its->second.erase(channel);
    if (its->second.empty()) of_client_.erase(its);
  }

  std::map<proto::ChannelHandle, OwnedChannel> channels_;  ///< in order, for pages
  std::unordered_map<ClientNumber, std::set<proto::ChannelHandle>> of_client_;
  std::unordered_map<uid_t, std::size_t> of_uid_;
};

}  // namespace connd::daemon
