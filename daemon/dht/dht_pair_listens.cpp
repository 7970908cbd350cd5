// SPDX-License-Identifier: GPL-3.0-or-later
// What the client listens to beside its own public keys: those that it shares with peers, which change.
#include "daemon/dht/dht_client_impl.h"

namespace connd::daemon {

void DhtClient::Impl::unlisten(const dht::InfoHash& key) {
  pair_listens_.erase(key);
  std::erase_if(kept_, [&](const DhtKept& kept) { return kept.pair_peer && kept.key == key; });
  if (node_) node_->stop_listening(key);
}

void DhtClient::Impl::listen_pairs(const std::vector<proto::PairListen>& wanted) {
  if (shutting_down_ || closed_) return;
  std::map<dht::InfoHash, proto::DeviceId> next;
  for (const proto::PairListen& one : wanted) {
    if (next.size() < kMaxPairListens) next.emplace(hash_of(one.key), one.peer);
  }
  std::vector<dht::InfoHash> over;
  for (const auto& [key, peer] : pair_listens_) {
    const auto it = next.find(key);
    if (it != next.end() && it->second == peer) {
      next.erase(it);
    } else {
      over.push_back(key);
    }
  }
  for (const dht::InfoHash& key : over) unlisten(key);
  for (const auto& [key, peer] : next) {
    pair_listens_.emplace(key, peer);
    keep(request_listen(key, Arrival{false, peer}));
  }
}

}  // namespace connd::daemon
