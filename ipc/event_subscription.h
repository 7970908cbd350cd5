// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// EventSubscription: the daemon's events for one app, the snapshot first.
#pragma once

#include <functional>
#include <memory>

#include "ipc/calls.h"
#include "ipc/client.h"

namespace connd::ipc {

class SnapshotReader;

/// Used on the Client's thread, and destroyed with it. `calls` outlives it.
class EventSubscription {
 public:
  using Done = std::function<void(Outcome<Snapshot>)>;

  explicit EventSubscription(Calls& calls) : calls_(calls) {}

  /// `stream`: the daemon sends snapshots in parts. In place of a subscription that there was.
  void subscribe(Client::EventHandler handler, bool stream, Done done);
  /// False: it is about no event.
  bool notified(const Notification& note);
  /// A snapshot that is awaited does not come; that is told later.
  void connection_lost(const Error& error);

 private:
  void begin_snapshot(const Json& head, const Done& done);
  void take_event(const Json& params);
  void take_lost(const Json& params);
  void take_snapshot_part(const Json& params);
  void tell(Event event, Json members);

  Calls& calls_;
  Client::EventHandler handler_;
  std::shared_ptr<SnapshotReader> snapshot_;  // while it comes; shared with who tells it, for that may begin another
};

}  // namespace connd::ipc
