// SPDX-License-Identifier: GPL-3.0-or-later
// One unique channel of a name with a peer, also while there are two connections: when both sides have dialled, each
// may have asked on another one. The mux sees its own connection only (proto/PROTOCOL.md, section 11).
#include <utility>

#include "daemon/connection/connection_manager.h"

namespace connd::daemon {

/// Where the unique channel of this name is, open or asked for by either side. One that we hold counts if there is no
/// other.
ConnectionManager::UniqueChannel ConnectionManager::unique_channel(const proto::DeviceId& device,
                                                                   const std::string& uri,
                                                                   const MultiplexedSocket* besides) const {
  UniqueChannel found;
  const auto peer = peers_.find(device);
  if (peer == peers_.end()) return found;
  for (const ConnectionNumber number : peer->second.connections) {
    MultiplexedSocket& socket = *connections_.at(number).socket;
    const proto::ChannelHandle channel = &socket == besides ? 0 : socket.unique_channel(uri);
    if (channel == 0) continue;
    if (found.channel == 0 || held_.count(channel) == 0) found = {&socket, channel};
  }
  return found;
}

/// A peer's unique request while there is a unique channel of that name on another connection. One that is open, or
/// offered, makes it a duplicate. Of two requests that cross, that of the lower id wins: it holds the other one, which
/// the peer takes back when it sees the winner. True when the request needs no listener.
bool ConnectionManager::crosses_ours(MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri) {
  const UniqueChannel ours = unique_channel(socket.peer(), uri, &socket);
  if (ours.channel == 0) return false;
  const auto opening = opening_.find(ours.channel);
  if (opening == opening_.end()) {
    const proto::Reason reason = proto::Reason::kDuplicate;
    socket.refuse(channel, reason, proto::reason_info(reason).text);
    return true;
  }
  if (own_ < socket.peer()) {
    held_.emplace(channel, HeldRequest{socket.number(), uri});
    return true;
  }
  const std::vector<OpenNumber> numbers = std::move(opening->second);
  opening_.erase(opening);
  ours.socket->cancel(ours.channel, proto::Reason::kDuplicate);
  deliver(numbers, channel, socket, socket.accept(channel, opens_.at(numbers.front()).request.options));
  return true;
}

/// An open of ours that was to have another channel, or none, takes what we hold.
void ConnectionManager::take_held(OpenNumber number) {
  const auto it = opens_.find(number);
  if (it == opens_.end()) return;
  const OpenRequest& request = it->second.request;
  const UniqueChannel there = unique_channel(request.peer, request.uri, nullptr);
  if (held_.erase(there.channel) == 0) return place(number);  // the peer took it back, or another open was first
  deliver({number}, there.channel, *there.socket, there.socket->accept(there.channel, request.options));
}

/// Requests whose reason to be held is over: for opens of ours, or for the listeners.
void ConnectionManager::offer_held() {
  for (const OpenNumber number : std::exchange(takers_, {})) take_held(number);
  std::vector<proto::ChannelHandle> channels;
  for (const auto& [channel, request] : held_) channels.push_back(channel);
  for (const proto::ChannelHandle channel : channels) {
    const auto held = held_.extract(channel);  // gone, if what came before took it
    if (held.empty()) continue;
    MultiplexedSocket& socket = *connections_.at(held.mapped().connection).socket;
    on_channel_requested(socket, channel, held.mapped().uri, true);
  }
}

void ConnectionManager::drop_held(ConnectionNumber connection) {
  std::erase_if(held_, [connection](const auto& held) { return held.second.connection == connection; });
}

}  // namespace connd::daemon
