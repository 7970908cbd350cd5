// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/asked_requests.h"

namespace connd::daemon {

bool AskedRequests::add(AskedRequest request) {
  std::size_t& count = counts_[request.client];
  if (count >= max_per_client_) return false;
  ++count;
  const proto::ChannelHandle channel = request.incoming.channel;
  deadlines_.emplace(request.deadline, channel);
  requests_.emplace(channel, std::move(request));
  return true;
}

std::optional<AskedRequest> AskedRequests::take(proto::ChannelHandle channel) {
  const auto it = requests_.find(channel);
  if (it == requests_.end()) return std::nullopt;
  AskedRequest request = std::move(it->second);
  requests_.erase(it);
  deadlines_.erase({request.deadline, channel});
  if (const auto count = counts_.find(request.client); --count->second == 0) counts_.erase(count);
  return request;
}

const AskedRequest* AskedRequests::find(proto::ChannelHandle channel) const {
  const auto it = requests_.find(channel);
  return it == requests_.end() ? nullptr : &it->second;
}

std::size_t AskedRequests::count_of(ClientNumber client) const {
  const auto it = counts_.find(client);
  return it == counts_.end() ? 0 : it->second;
}

std::vector<proto::ChannelHandle> AskedRequests::of_client(ClientNumber client) const {
  std::vector<proto::ChannelHandle> found;
  for (const auto& [channel, request] : requests_) {
    if (request.client == client) found.push_back(channel);
  }
  return found;
}

std::vector<proto::ChannelHandle> AskedRequests::of_listener(ListenerNumber listener) const {
  std::vector<proto::ChannelHandle> found;
  for (const auto& [channel, request] : requests_) {
    if (request.listener == listener) found.push_back(channel);
  }
  return found;
}

std::vector<proto::ChannelHandle> AskedRequests::expired(proto::TimePoint now) const {
  std::vector<proto::ChannelHandle> found;
  for (const auto& [deadline, channel] : deadlines_) {
    if (deadline > now) break;
    found.push_back(channel);
  }
  return found;
}

proto::TimePoint AskedRequests::next_deadline() const {
  return deadlines_.empty() ? proto::kNever : deadlines_.begin()->first;
}

}  // namespace connd::daemon
