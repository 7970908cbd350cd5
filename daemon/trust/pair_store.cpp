// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/pair_store.h"

#include <algorithm>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

constexpr std::string_view kPairMagic = "jami-connd pairs 1\n";

}  // namespace

Outcome<PairStore> PairStore::open(std::string path) {
  PairStore store(std::move(path));
  const auto bytes = read_bounded(store.path_, kMaxFileBytes);
  if (!bytes) return bytes.failure();
  if (*bytes && !store.load(**bytes)) store.pairs_.clear();
  return store;
}

/// For each: 32 bytes of device id, one that is 1 for a peer that was allowed, the number of secrets, and those.
bool PairStore::load(proto::Bytes bytes) {
  proto::ByteReader in(bytes);
  if (proto::as_text(in.take(kPairMagic.size())) != kPairMagic) return false;
  while (!in.at_end()) {
    Pair pair;
    const proto::Bytes id = in.take(pair.peer.bytes.size());
    const proto::Bytes head = in.take(2);
    if (in.failed() || head[0] > 1 || head[1] == 0 || head[1] > kMaxSecrets || pairs_.size() == kMaxPeers) return false;
    std::copy(id.begin(), id.end(), pair.peer.bytes.begin());
    pair.allowed = head[0] == 1;
    for (std::size_t i = 0; i < head[1]; ++i) {
      const proto::Bytes secret = in.take(sizeof(proto::PairSecret));
      if (in.failed()) return false;
      std::copy(secret.begin(), secret.end(), pair.secrets.emplace_back().begin());
    }
    if (find(pair.peer) != pairs_.end()) return false;
    pairs_.push_back(std::move(pair));
  }
  return !in.failed();
}

PairStore::Snapshot PairStore::serialize() const {
  Snapshot out{{kPairMagic.begin(), kPairMagic.end()}, change_};
  for (const Pair& pair : pairs_) {
    out.bytes.insert(out.bytes.end(), pair.peer.bytes.begin(), pair.peer.bytes.end());
    out.bytes.push_back(pair.allowed ? 1 : 0);
    out.bytes.push_back(static_cast<std::uint8_t>(pair.secrets.size()));
    for (const auto& secret : pair.secrets) out.bytes.insert(out.bytes.end(), secret.begin(), secret.end());
  }
  return out;
}

std::list<PairStore::Pair>::iterator PairStore::find(const proto::DeviceId& peer) {
  return std::find_if(pairs_.begin(), pairs_.end(), [&](const Pair& pair) { return pair.peer == peer; });
}

void PairStore::add(const proto::DeviceId& peer, const proto::PairSecret& secret, bool allowed) {
  if (!touch(peer)) pairs_.push_front({peer, allowed, {}});
  Pair& pair = pairs_.front();
  pair.allowed = allowed;
  pair.secrets.insert(pair.secrets.begin(), secret);
  if (pair.secrets.size() > kMaxSecrets) pair.secrets.pop_back();
  if (pairs_.size() > kMaxPeers) pairs_.pop_back();
  ++change_;
}

bool PairStore::touch(const proto::DeviceId& peer) {
  const auto it = find(peer);
  if (it == pairs_.end()) return false;
  pairs_.splice(pairs_.begin(), pairs_, it);
  return true;
}

void PairStore::set_allowed(const proto::DeviceId& peer, bool allowed) {
  const auto it = find(peer);
  if (it == pairs_.end() || it->allowed == allowed) return;
  it->allowed = allowed;
  ++change_;
}

bool PairStore::forget(const proto::DeviceId& peer) {
  const auto it = find(peer);
  if (it == pairs_.end()) return false;
  pairs_.erase(it);
  ++change_;
  return true;
}

std::vector<proto::PairKey> PairStore::keys_to(const proto::DeviceId& peer, std::int64_t now_unix) const {
  std::vector<proto::PairKey> keys;
  const auto it = std::find_if(pairs_.begin(), pairs_.end(), [&](const Pair& pair) { return pair.peer == peer; });
  if (it == pairs_.end()) return keys;
  for (const auto& secret : it->secrets) keys.push_back(pair_key(secret, proto::pair_day_of(now_unix), peer));
  return keys;
}

std::vector<proto::PairListen> PairStore::listens(const proto::DeviceId& own, std::int64_t now_unix) const {
  std::vector<proto::PairDay> days{proto::pair_day_of(now_unix)};
  for (const std::int64_t near : {now_unix - kNeighbourSeconds, now_unix + kNeighbourSeconds}) {
    if (proto::pair_day_of(near) != days.front()) days.push_back(proto::pair_day_of(near));
  }
  std::vector<proto::PairListen> out;
  std::size_t peers = 0;
  for (const Pair& pair : pairs_) {
    if (++peers > kMaxListened) break;
    const std::size_t secrets = peers <= kMaxListenedTwice ? pair.secrets.size() : 1;
    for (std::size_t i = 0; i < secrets; ++i) {
      for (const proto::PairDay day : days) out.push_back({pair_key(pair.secrets[i], day, own), pair.peer});
    }
  }
  return out;
}

}  // namespace connd::daemon
