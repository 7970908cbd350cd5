// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/pair_keys.h"

#include <utility>

#include <openssl/crypto.h>
#include <spdlog/spdlog.h>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

/// Keys change with the day, and clocks are set: looked at so often while there are any.
constexpr proto::Duration kPairsInterval = std::chrono::minutes(5);

}  // namespace

PairKeys::PairKeys(Loop& loop, Signalling& signalling, Stores& stores, KnownChains& chains, const proto::DeviceId& own,
                   KnownChains::Clock clock)
    : loop_(loop),
      signalling_(signalling),
      pairs_(stores.pairs),
      chains_(chains),
      own_(own),
      clock_(std::move(clock)),
      timer_(loop, [this] { changed(); }) {}

/// Both sides do so, unless one does not trust the other and was called by it: its secret is then of no use to that
/// one, and no harm.
void PairKeys::met(const Link& link, Trust trust, bool called) {
  const bool wanted = trust == Trust::kAllowed || (trust == Trust::kUnknown && called);
  if (!wanted || !link.native()) return;
  proto::PairSecret secret;
  if (!link.export_secret(proto::kPairExporterLabel, secret)) return;
  pairs_.add(link.peer(), secret, trust == Trust::kAllowed);
  OPENSSL_cleanse(secret.data(), secret.size());
  changed();
}

void PairKeys::prune() {
  std::vector<proto::DeviceId> gone;
  for (const auto& pair : pairs_.pairs()) {
    const Trust trust = chains_.trust_of(pair.peer);
    if (trust == Trust::kBanned || (pair.allowed && trust != Trust::kAllowed)) {
      gone.push_back(pair.peer);
    } else {
      pairs_.set_allowed(pair.peer, trust == Trust::kAllowed);
    }
  }
  for (const proto::DeviceId& peer : gone) pairs_.forget(peer);
  changed();
}

void PairKeys::changed() {
  signalling_.listen_pairs(pairs_.listens(own_, clock_()));
  timer_.arm(pairs_.pairs().empty() ? proto::kNever : loop_.now() + kPairsInterval);
  save();
}

std::vector<proto::PairKey> PairKeys::to(const proto::DeviceId& peer) {
  auto keys = pairs_.keys_to(peer, clock_());
  // Its answer comes the same way: it must be among those that we listen for.
  if (!keys.empty() && pairs_.pairs().front().peer != peer && pairs_.touch(peer)) changed();
  return keys;
}

/// Off the loop, and one at a time.
void PairKeys::save() {
  if (saving_ || !pairs_.dirty()) return;
  saving_ = true;
  auto snapshot = std::make_shared<PairStore::Snapshot>(pairs_.serialize());
  auto outcome = std::make_shared<Outcome<void>>();
  loop_.post_work(
      [snapshot, outcome, path = pairs_.path()] {
        *outcome = write_atomically(path, snapshot->bytes, 0600, Durability::kCached);
        OPENSSL_cleanse(snapshot->bytes.data(), snapshot->bytes.size());
      },
      [this, snapshot, outcome, alive = std::weak_ptr<int>(alive_)] {
        if (alive.expired()) return;
        saving_ = false;
        if (!*outcome) return spdlog::warn("keys shared with peers not saved: {}", outcome->failure().text);
        pairs_.saved(snapshot->change);
        save();
      });
}

}  // namespace connd::daemon
