// SPDX-License-Identifier: GPL-3.0-or-later
/// PairKeys: keys of the DHT that only we and one peer know (PROTOCOL.md 4.1), where its requests come when strangers
/// flood our public keys. It keeps the secrets that connections leave, listens where they say, and writes them down.
#pragma once

#include <memory>
#include <vector>

#include "daemon/connection/known_chains.h"
#include "daemon/dht/signalling.h"
#include "daemon/event_loop/loop.h"
#include "daemon/link/link.h"
#include "daemon/trust/stores.h"

namespace connd::daemon {

/// Lives on the loop's thread. All that it is given outlives it.
class PairKeys {
 public:
  PairKeys(Loop& loop, Signalling& signalling, Stores& stores, KnownChains& chains, const proto::DeviceId& own,
           KnownChains::Clock clock);

  /// A connection has come up. `called`: by us.
  void met(const Link& link, Trust trust, bool called);
  /// Trust has changed: who is banned, or was allowed and is no more, has no key of its own any more.
  void prune();
  /// Where a message for `peer` is put now; none when it is not here.
  [[nodiscard]] std::vector<proto::PairKey> to(const proto::DeviceId& peer);
  /// The keys change no more with the day.
  void stop() { timer_.stop(); }

 private:
  void changed();
  void save();

  Loop& loop_;
  Signalling& signalling_;
  PairStore& pairs_;
  KnownChains& chains_;
  const proto::DeviceId own_;
  const KnownChains::Clock clock_;
  bool saving_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< pool work holds a weak_ptr: it may end after us
  Timer timer_;
};

}  // namespace connd::daemon
