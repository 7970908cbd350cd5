// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/dht/kept_values.h"

#include <algorithm>
#include <utility>

#include "daemon/dht/dht_setup.h"

namespace connd::daemon {

KeptValues::KeptValues(NodeUse& node, PairListen pair_listen) : node_(node), pair_listen_(std::move(pair_listen)) {}

void KeptValues::keep(DhtKept kept) {
  if (node_.can_ask()) node_.keep(kept);
  kept_.push_back(std::move(kept));
}

void KeptValues::publish(const std::string& name, proto::Bytes data) {
  const dht::InfoHash key = dht::InfoHash::get(name);
  const auto former = std::find_if(kept_.begin(), kept_.end(), [&key](const DhtKept& kept) {
    return kept.key == key && kept.put && kept.put->user_type == kRecordType;
  });
  if (former != kept_.end()) {
    if (std::equal(data.begin(), data.end(), former->put->data.begin(), former->put->data.end())) return;
    node_.stop_putting(key, former->put->id);
    kept_.erase(former);
  }
  auto value = std::make_shared<dht::Value>(dht::ValueType::USER_DATA.id, dht::Blob(data.begin(), data.end()),
                                            record_value_id(data, static_cast<unsigned>(chance_() % kRecordIds)));
  value->user_type = kRecordType;
  keep({key, {}, std::move(value)});
}

void KeptValues::unlisten(const dht::InfoHash& key) {
  pairs_.erase(key);
  std::erase_if(kept_, [&](const DhtKept& kept) { return kept.pair_peer && kept.key == key; });
  node_.stop_listening(key);
}

void KeptValues::listen_pairs(const std::vector<proto::PairListen>& wanted) {
  std::map<dht::InfoHash, proto::DeviceId> next;
  for (const proto::PairListen& one : wanted) {
    if (next.size() < kMaxPairListens) next.emplace(hash_of(one.key), one.peer);
  }
  std::vector<dht::InfoHash> over;
  for (const auto& [key, peer] : pairs_) {
    const auto it = next.find(key);
    if (it != next.end() && it->second == peer) {
      next.erase(it);
    } else {
      over.push_back(key);
    }
  }
  for (const dht::InfoHash& key : over) unlisten(key);
  for (const auto& [key, peer] : next) {
    pairs_.emplace(key, peer);
    keep(pair_listen_(key, peer));
  }
}

void KeptValues::give() {
  for (const DhtKept& kept : kept_) node_.keep(kept);
}

void KeptValues::wake_listens() {
  if (!node_.can_ask()) return;
  for (const DhtKept& kept : kept_) node_.wake(kept);
}

void KeptValues::ask_all() {
  if (!node_.can_ask()) return;
  for (const DhtKept& kept : kept_) {
    // Those of pairs are many, and what is missed there comes by the public keys a second later.
    kept.answers && !kept.pair_peer ? node_.ask(kept) : node_.wake(kept);
    node_.check(kept);
  }
}

void KeptValues::look_for(const AnswerWatch& answers) {
  if (!node_.can_ask()) return;
  for (const DhtKept& kept : kept_) {
    if (kept.answers && (!kept.pair_peer || answers.awaits(*kept.pair_peer))) node_.ask(kept);
  }
}

std::vector<std::uint64_t> KeptValues::signed_ids() const {
  std::vector<std::uint64_t> out;
  for (const DhtKept& kept : kept_) {
    if (kept.put && kept.put->isSigned()) out.push_back(kept.put->id);
  }
  return out;
}

}  // namespace connd::daemon
