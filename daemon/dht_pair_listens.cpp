// SPDX-License-Identifier: GPL-3.0-or-later
// What the client listens to: its own public keys, for good, and those that it shares with peers, which change.
#include "daemon/dht_client_impl.h"

namespace connd::daemon {

void DhtClient::Impl::listen(const dht::InfoHash& key, const Arrival& arrival) {
  listens_[key] = {arrival, {}};
  tell_node([this, key, arrival] {
    const auto listened = listens_.find(key);
    if (listened == listens_.end()) return;  // taken back before the node was told
    auto token = node_->runner.listen(
        key, dht::ValueCallback([bridge = bridge_, arrival](const DhtValues& values, bool expired) {
          return bridge->requests(values, expired, arrival);
        }));
    listened->second.token = token.share();
  });
}

void DhtClient::Impl::unlisten(const dht::InfoHash& key) {
  const auto listened = listens_.extract(key);
  if (listened && listened.mapped().token.valid()) node_->runner.cancelListen(key, listened.mapped().token);
}

void DhtClient::Impl::listen_pairs(const std::vector<PairListen>& wanted) {
  if (shutting_down_ || closed_) return;
  std::map<dht::InfoHash, proto::DeviceId> next;
  for (const PairListen& one : wanted) next.emplace(hash_of(one.key), one.peer);
  std::vector<dht::InfoHash> over;
  for (const auto& [key, listened] : listens_) {
    if (!listened.arrival.pair_peer) continue;
    const auto it = next.find(key);
    if (it != next.end() && it->second == *listened.arrival.pair_peer) {
      next.erase(it);
    } else {
      over.push_back(key);
    }
  }
  for (const dht::InfoHash& key : over) unlisten(key);
  for (const auto& [key, peer] : next) listen(key, Arrival{false, peer});
}

}  // namespace connd::daemon
