// SPDX-License-Identifier: GPL-3.0-or-later
// Secrets shared with peers: where their requests come when strangers flood our public keys.
#include <openssl/crypto.h>
#include <spdlog/spdlog.h>

#include "daemon/connection/connection_manager.h"
#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

/// Keys change with the day, and clocks are set: looked at so often while there are any.
constexpr proto::Duration kPairsInterval = std::chrono::minutes(5);

}  // namespace

/// Of a connection that has come up. Both sides do so, unless one does not trust the other and was called by it: its
/// secret is then of no use to that one, and no harm.
void ConnectionManager::remember_pair(const MultiplexedSocket& socket, Trust trust, proto::ConnectRole role) {
  const bool wanted = trust == Trust::kAllowed || (trust == Trust::kUnknown && role == proto::ConnectRole::kCaller);
  if (!wanted || !socket.link().native()) return;
  proto::PairSecret secret;
  if (!socket.link().export_secret(proto::kPairExporterLabel, secret)) return;
  context_.stores.pairs.add(socket.peer(), secret, trust == Trust::kAllowed);
  OPENSSL_cleanse(secret.data(), secret.size());
  pairs_changed();
}

/// Who is banned, or was allowed and is no more, has no key of its own any more.
void ConnectionManager::prune_pairs() {
  PairStore& pairs = context_.stores.pairs;
  std::vector<proto::DeviceId> gone;
  for (const auto& pair : pairs.pairs()) {
    const Trust trust = chains_.trust_of(pair.peer);
    if (trust == Trust::kBanned || (pair.allowed && trust != Trust::kAllowed)) {
      gone.push_back(pair.peer);
    } else {
      pairs.set_allowed(pair.peer, trust == Trust::kAllowed);
    }
  }
  for (const proto::DeviceId& peer : gone) pairs.forget(peer);
  pairs_changed();
}

void ConnectionManager::pairs_changed() {
  const PairStore& pairs = context_.stores.pairs;
  context_.signalling.listen_pairs(pairs.listens(own_, unix_now()));
  pairs_timer_.arm(pairs.pairs().empty() ? proto::kNever : context_.connections.loop.now() + kPairsInterval);
  save_pairs();
}

std::vector<proto::PairKey> ConnectionManager::pair_keys_to(const proto::DeviceId& peer) {
  PairStore& pairs = context_.stores.pairs;
  auto keys = pairs.keys_to(peer, unix_now());
  // Its answer comes the same way: it must be among those that we listen for.
  if (!keys.empty() && pairs.pairs().front().peer != peer && pairs.touch(peer)) pairs_changed();
  return keys;
}

/// Off the loop, and one at a time.
void ConnectionManager::save_pairs() {
  PairStore& pairs = context_.stores.pairs;
  if (saving_pairs_ || !pairs.dirty()) return;
  saving_pairs_ = true;
  auto snapshot = std::make_shared<PairStore::Snapshot>(pairs.serialize());
  auto outcome = std::make_shared<Outcome<void>>();
  context_.connections.loop.post_work(
      [snapshot, outcome, path = pairs.path()] {
        *outcome = write_atomically(path, snapshot->bytes, 0600, Durability::kCached);
        OPENSSL_cleanse(snapshot->bytes.data(), snapshot->bytes.size());
      },
      [this, snapshot, outcome, alive = std::weak_ptr<int>(alive_)] {
        if (alive.expired()) return;
        saving_pairs_ = false;
        if (!*outcome) return spdlog::warn("keys shared with peers not saved: {}", outcome->failure().text);
        context_.stores.pairs.saved(snapshot->change);
        save_pairs();
      });
}

}  // namespace connd::daemon
