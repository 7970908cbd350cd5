// SPDX-License-Identifier: GPL-3.0-or-later
/// AttachTokens: channels whose fd was not given out. Each has a token of 128 bits instead, which a connection to the
/// control socket shows to become the channel: for languages that cannot take a descriptor. Pure: time and chance are
/// told.
///
/// A token is good once, for kTime, and for the user that it was made for. It is void when its channel ends, and when
/// the client that has the channel goes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "daemon/local_api/listener_table.h"
#include "daemon/local_api/user_places.h"
#include "proto/mux.h"
#include "proto/time.h"

namespace connd::daemon {

class AttachTokens {
 public:
  /// A program connects at once; and what it does not take is a channel that the peer waits on.
  static constexpr proto::Duration kTime = std::chrono::seconds(10);
  /// As many as fds may be on their way to one client; and of all clients.
  static constexpr std::size_t kMaxOfClient = 64;
  static constexpr std::size_t kMaxInAll = 1'024;
  static constexpr std::size_t kBytes = 16;
  using Random = std::array<std::uint8_t, kBytes>;

  /// Why there can be none for this client, or nothing. `administrator`: its user has no share to keep to.
  [[nodiscard]] std::optional<std::string> no_room(ClientNumber client, uid_t uid, const UserPlaces& places,
                                                   bool administrator) const {
    const auto of = [](const auto& counts, auto key) {
      const auto it = counts.find(key);
      return it == counts.end() ? std::size_t{0} : it->second;
    };
    if (of(of_client_, client) >= kMaxOfClient || waiting_.size() >= kMaxInAll) {
      return "too many channels wait for their connection (channel.attach)";
    }
    if (!administrator && places.shared() && of(of_uid_, uid) >= places.share(kMaxInAll)) {
      return share_text("channels that wait for channel.attach", places.share(kMaxInAll), kMaxInAll);
    }
    return std::nullopt;
  }
  /// The new token, of 32 hex digits. `random` is nobody's to guess.
  std::string add(proto::ChannelHandle channel, ClientNumber client, uid_t uid, proto::TimePoint now,
                  const Random& random) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string token;
    for (const std::uint8_t byte : random) token += {kDigits[byte >> 4], kDigits[byte & 15]};
    const auto [it, fresh] = waiting_.emplace(token, Entry{channel, client, uid, now + kTime});
    if (!fresh) return {};  // chance has failed: better none than one of two channels
    by_channel_.emplace(channel, it);
    deadlines_.emplace(it->second.deadline, channel);
    ++of_client_[client];
    ++of_uid_[uid];
    return token;
  }
  /// The channel of this token, once. Nothing: there is no such token, or it is another user's.
  std::optional<proto::ChannelHandle> take(std::string_view token, uid_t uid) {
    const auto it = waiting_.find(token);
    if (it == waiting_.end() || it->second.uid != uid) return std::nullopt;
    const proto::ChannelHandle channel = it->second.channel;
    forget(channel);
    return channel;
  }
  /// The channel has ended, or is to end. Nothing when it waits for nobody.
  void forget(proto::ChannelHandle channel) {
    const auto known = by_channel_.find(channel);
    if (known == by_channel_.end()) return;
    const Entry& entry = known->second->second;
    deadlines_.erase({entry.deadline, channel});
    count_down(of_client_, entry.client);
    count_down(of_uid_, entry.uid);
    waiting_.erase(known->second);
    by_channel_.erase(known);
  }
  [[nodiscard]] bool waits(proto::ChannelHandle channel) const { return by_channel_.contains(channel); }
  /// Channels whose time is over: to be closed, and forgotten.
  [[nodiscard]] std::vector<proto::ChannelHandle> expired(proto::TimePoint now) const {
    std::vector<proto::ChannelHandle> channels;
    for (const auto& [deadline, channel] : deadlines_) {
      if (deadline > now) break;
      channels.push_back(channel);
    }
    return channels;
  }
  /// Of a client that has gone.
  [[nodiscard]] std::vector<proto::ChannelHandle> of_client(ClientNumber client) const {
    std::vector<proto::ChannelHandle> channels;
    if (!of_client_.contains(client)) return channels;
    for (const auto& [token, entry] : waiting_) {
      if (entry.client == client) channels.push_back(entry.channel);
    }
    return channels;
  }
  [[nodiscard]] proto::TimePoint next_deadline() const {
    return deadlines_.empty() ? proto::kNever : deadlines_.begin()->first;
  }
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }

 private:
  struct Entry {
    proto::ChannelHandle channel;
    ClientNumber client;
    uid_t uid;
    proto::TimePoint deadline;
  };
  using Waiting = std::map<std::string, Entry, std::less<>>;

  template <class Counts, class Key>
  static void count_down(Counts& counts, const Key& key) {
    const auto it = counts.find(key);
    if (--it->second == 0) counts.erase(it);
  }

  Waiting waiting_;
  std::unordered_map<proto::ChannelHandle, Waiting::iterator> by_channel_;
  std::set<std::pair<proto::TimePoint, proto::ChannelHandle>> deadlines_;
  std::unordered_map<ClientNumber, std::size_t> of_client_;
  std::unordered_map<uid_t, std::size_t> of_uid_;
};

}  // namespace connd::daemon
