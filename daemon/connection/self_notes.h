// SPDX-License-Identifier: GPL-3.0-or-later
/// SelfNotes: what this device tells itself by the DHT, so that another daemon with its keys is noticed (CloneWatch).
#pragma once

#include <optional>
#include <random>

#include "daemon/connection/clone_watch.h"
#include "daemon/connection/event_hub.h"
#include "daemon/dht/signalling.h"
#include "daemon/event_loop/loop.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// Lives on the loop's thread. All that it is given by reference outlives it.
class SelfNotes {
 public:
  /// `own_public_key`: SubjectPublicKeyInfo, DER; empty: nothing is told, and nothing looked for.
  SelfNotes(Loop& loop, Signalling& signalling, EventHub& events, const proto::DeviceId& own,
            proto::ByteVector own_public_key);

  /// A note that our own key has signed.
  void heard(const proto::SelfNote& note);
  /// When another daemon with this device's identity was last heard of, if there is one.
  [[nodiscard]] std::optional<proto::TimePoint> last_seen() const { return clones_.last_seen(loop_.now()); }
  /// Nothing is told any more.
  void stop();

 private:
  void tell(const std::optional<proto::SelfNote>& note);

  Loop& loop_;
  Signalling& signalling_;
  EventHub& events_;
  const proto::DeviceId own_;
  const proto::ByteVector own_public_key_;
  std::mt19937_64 random_{std::random_device{}()};
  CloneWatch clones_;
  bool stopped_ = false;
  Timer timer_;
};

}  // namespace connd::daemon
