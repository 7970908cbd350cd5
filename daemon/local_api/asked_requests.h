// SPDX-License-Identifier: GPL-3.0-or-later
/// AskedRequests: peers' requests for channels that wait for a local client: that it was asked about and has not
/// answered; or that it takes unasked, as soon as it has taken the fds of those before. Pure.
#pragma once

#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/connection/connection_manager.h"
#include "daemon/local_api/listener_table.h"

namespace connd::daemon {

struct AskedRequest {
  IncomingChannel incoming;
  ClientNumber client = 0;
  ListenerNumber listener = 0;
  proto::TimePoint deadline;
  uid_t uid = static_cast<uid_t>(-1);  ///< of the client
};

class AskedRequests {
 public:
  /// `max_per_client`: requests of one client; their names are bounded by the connections that they came on.
  explicit AskedRequests(std::size_t max_per_client) : max_per_client_(max_per_client) {}

  /// False: the client has as many as it may.
  bool add(AskedRequest request);
  /// The request, taken out; nothing when it is not there.
  std::optional<AskedRequest> take(proto::ChannelHandle channel);
  [[nodiscard]] const AskedRequest* find(proto::ChannelHandle channel) const;
  /// Of a client, at most `most`, the one that ends first first; or of one of its listeners alone.
  [[nodiscard]] std::vector<proto::ChannelHandle> of_client(ClientNumber client, std::size_t most) const;
  [[nodiscard]] std::vector<proto::ChannelHandle> of_listener(ClientNumber client, ListenerNumber listener) const;
  /// Those whose time is over.
  [[nodiscard]] std::vector<proto::ChannelHandle> expired(proto::TimePoint now) const;
  [[nodiscard]] proto::TimePoint next_deadline() const;
  [[nodiscard]] std::size_t size() const { return requests_.size(); }
  [[nodiscard]] std::size_t count_of(ClientNumber client) const;
  [[nodiscard]] std::size_t count_of_user(uid_t uid) const;

 private:
  const std::size_t max_per_client_;
  using ByDeadline = std::set<std::pair<proto::TimePoint, proto::ChannelHandle>>;
  std::unordered_map<proto::ChannelHandle, AskedRequest> requests_;
  ByDeadline deadlines_;
  std::unordered_map<ClientNumber, ByDeadline> of_client_;
  std::unordered_map<uid_t, std::size_t> of_uid_;
};

}  // namespace connd::daemon
