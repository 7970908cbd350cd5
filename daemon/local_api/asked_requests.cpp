// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/asked_requests.h"

namespace connd::daemon {

bool AskedRequests::add(AskedRequest request) {
  if (count_of(request.client) >= max_per_client_) return false;
  const proto::ChannelHandle channel = request.incoming.channel;
  of_client_[request.client].emplace(request.deadline, channel);
  ++of_uid_[request.uid];
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
  const auto its = of_client_.find(request.client);
  its->second.erase({request.deadline, channel});
  if (its->second.empty()) of_client_.erase(its);
  if (const auto count = of_uid_.find(request.uid); --count->second == 0) of_uid_.erase(count);
  return request;
}

const AskedRequest* AskedRequests::find(proto::ChannelHandle channel) const {
  const auto it = requests_.find(channel);
  return it == requests_.end() ? nullptr : &it->second;
}

std::size_t AskedRequests::count_of(ClientNumber client) const {
  const auto it = of_client_.find(client);
  return it == of_client_.end() ? 0 : it->second.size();
}

std::size_t AskedRequests::count_of_user(uid_t uid) const {
  const auto it = of_uid_.find(uid);
  return it == of_uid_.end() ? 0 : it->second;
}

std::vector<proto::ChannelHandle> AskedRequests::of_client(ClientNumber client, std::size_t most) const {
  std::vector<proto::ChannelHandle> found;
  const auto its = of_client_.find(client);
  if (its == of_client_.end()) return found;
  for (auto it = its->second.begin(); it != its->second.end() && found.size() < most; ++it) {
    found.push_back(it->second);
  }
  return found;
}

std::vector<proto::ChannelHandle> AskedRequests::of_listener(ClientNumber client, ListenerNumber listener) const {
  std::vector<proto::ChannelHandle> found = of_client(client, count_of(client));
  std::erase_if(found, [&](proto::ChannelHandle channel) { return requests_.at(channel).listener != listener; });
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
