// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// SnapshotReader: puts together a snapshot that comes as a stream, and keeps the events that come between its parts,
/// so that the app gets the snapshot first. Pure.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "ipc/api_admin.h"

namespace connd::ipc {

class SnapshotReader {
 public:
  using Done = std::function<void(const Outcome<Snapshot>&)>;
  struct Held {
    Event event;
    Json members;
  };
  /// Events that come while a snapshot does; the rest counts as lost, and is told as events.lost.
  static constexpr std::size_t kMaxHeld = 65'536;

  /// `head`: the answer of events.subscribe. `done` gets the snapshot, once.
  SnapshotReader(Snapshot head, Done done) : snapshot_(std::move(head)), done_(std::move(done)) {}

  /// True: it was the last part.
  bool add(SnapshotPart part) {
    for (auto& connection : part.connections) snapshot_.connections.push_back(std::move(connection));
    for (auto& channel : part.channels) snapshot_.channels.push_back(std::move(channel));
    return part.done;
  }
  void hold(Event event, Json members) {
    if (held_.size() < kMaxHeld) {
      held_.push_back({std::move(event), std::move(members)});
      return;
    }
    ++lost_;
    lost_seq_ = event.seq;
  }
  /// The next event that was held, in order.
  std::optional<Held> take_held() {
    if (!held_.empty()) {
      Held next = std::move(held_.front());
      held_.pop_front();
      return next;
    }
    if (lost_ == 0) return std::nullopt;
    const EventsLost lost{lost_seq_, std::exchange(lost_, 0)};
    return Held{{.seq = lost.seq, .type = "events.lost"}, write_members(lost)};
  }
  /// Tells the snapshot, or (fail) that it does not come: once.
  void tell() { tell(Outcome<Snapshot>(std::move(snapshot_))); }
  void fail(const Error& error) { tell(Outcome<Snapshot>(error)); }

 private:
  void tell(const Outcome<Snapshot>& outcome) {
    if (const auto done = std::exchange(done_, nullptr)) done(outcome);
  }

  Snapshot snapshot_;
  Done done_;
  std::deque<Held> held_;
  std::uint64_t lost_ = 0;
  std::uint64_t lost_seq_ = 0;
};

}  // namespace connd::ipc
