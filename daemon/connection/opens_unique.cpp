// SPDX-License-Identifier: GPL-3.0-or-later
// One unique channel of a name with a peer, also while there are two connections: when both sides have dialled, each
// may have asked on another one. The mux sees its own connection only (proto/PROTOCOL.md, section 11).
#include <utility>

#include "daemon/connection/opens.h"

namespace connd::daemon {

PeerConnections::UniqueChannel Opens::unique_channel(const proto::DeviceId& device, const std::string& uri,
                                                     const MultiplexedSocket* besides) const {
  return connections_.unique_channel(device, uri, besides,
                                     [this](proto::ChannelHandle channel) { return held_.contains(channel); });
}

/// A channel that is open, or offered, makes the request a duplicate. Of two requests that cross, that of the lower id
/// wins: it holds the other one, which the peer takes back when it sees the winner.
bool Opens::crosses(MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri) {
  const PeerConnections::UniqueChannel ours = unique_channel(socket.peer(), uri, &socket);
  if (ours.channel == 0) return false;
  const auto resolves = resolves_.find(ours.channel);
  if (resolves == resolves_.end()) {
    const proto::Reason reason = proto::Reason::kDuplicate;
    socket.channels().refuse(channel, reason, proto::reason_info(reason).text);
    return true;
  }
  if (own_ < socket.peer()) {
    held_.hold(channel, socket.number(), uri);
    return true;
  }
  const std::vector<OpenNumber> numbers = std::move(resolves->second);
  resolves_.erase(resolves);
  ours.socket->channels().cancel(ours.channel, proto::Reason::kDuplicate);
  deliver(numbers, channel, socket, socket.channels().accept(channel, opens_.at(numbers.front()).request.options));
  return true;
}

void Opens::take_held(OpenNumber number) {
  const Pending* open = find(number);
  if (open == nullptr) return;
  const OpenRequest& request = open->request;
  const PeerConnections::UniqueChannel there = unique_channel(request.peer, request.uri, nullptr);
  if (!held_.take(there.channel)) return place(number);  // the peer took it back, or another open was first
  deliver({number}, there.channel, *there.socket, there.socket->channels().accept(there.channel, request.options));
}

}  // namespace connd::daemon
