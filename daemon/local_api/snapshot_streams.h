// SPDX-License-Identifier: GPL-3.0-or-later
/// SnapshotStreams: what there is, to subscribers that asked for it as a stream: page by page, in the turns of each and
/// as fast as it reads. Events go between the pages, in order.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>

#include "daemon/local_api/ipc_session.h"

namespace connd::daemon {

class SnapshotStreams {
 public:
  /// While this much waits to be read, no more is said: events need place, too.
  static constexpr std::size_t kMaxQueued = IpcSession::kMaxQueuedForEvents / 4;
  enum class List : std::uint8_t { kConnections, kChannels };
  /// A page of a list that this client may see, behind this key: the result of the method that lists.
  using MakePage = std::function<ipc::Outcome<ipc::Json>(const IpcSession&, List, const std::string& after)>;

  explicit SnapshotStreams(MakePage make_page) : make_page_(std::move(make_page)) {}

  /// From the first item on; one that is under way ends.
  void begin(ClientNumber client) { streams_[client] = Place{}; }
  void end(ClientNumber client) { streams_.erase(client); }
  /// Says the next part, if the client has read. True: there is something to write, and maybe more to be said.
  bool work(IpcSession& session);

 private:
  struct Place {
    List list = List::kConnections;
    std::string after;
  };

  const MakePage make_page_;
  std::unordered_map<ClientNumber, Place> streams_;
};

}  // namespace connd::daemon
