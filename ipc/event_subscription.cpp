// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/event_subscription.h"

#include <utility>

#include "ipc/snapshot_reader.h"

namespace connd::ipc {

void EventSubscription::subscribe(Client::EventHandler handler, bool stream, Done done) {
  handler_ = std::move(handler);
  calls_.start("events.subscribe", stream ? Json{{"stream", true}} : Json::object(),
               [this, stream, done = std::move(done)](const Outcome<Json>& reply, const Fd&) {
                 if (reply && stream) return begin_snapshot(*reply, done);
                 if (!done) return;
                 done(reply ? read_result<Snapshot>(*reply) : Outcome<Snapshot>(reply.error()));
               });
}

bool EventSubscription::notified(const Notification& note) {
  if (note.method == "event") {
    take_event(note.params);
  } else if (note.method == "events.lost") {
    take_lost(note.params);
  } else if (note.method == "events.snapshot") {
    take_snapshot_part(note.params);
  } else {
    return false;
  }
  return true;
}

void EventSubscription::connection_lost(const Error& error) {
  if (auto snapshot = std::exchange(snapshot_, nullptr)) {
    calls_.defer([snapshot, error] { snapshot->fail(error); });
  }
}

void EventSubscription::begin_snapshot(const Json& head, const Done& done) {
  auto snapshot = read_result<Snapshot>(head);
  if (snapshot) {
    snapshot_ = std::make_shared<SnapshotReader>(*std::move(snapshot), done);
  } else if (done) {
    done(snapshot.error());
  }
}

void EventSubscription::take_snapshot_part(const Json& params) {
  auto part = read_result<SnapshotPart>(params);
  if (!part) return calls_.bad_notification(part.error());
  const auto reader = snapshot_;
  if (!reader || !reader->add(*std::move(part))) return;
  reader->tell();
  // A handler may process more, which is held too; or subscribe anew: then what was before is in the next snapshot.
  while (snapshot_ == reader) {
    auto held = reader->take_held();
    if (!held) {
      snapshot_.reset();
      return;
    }
    const Client::EventHandler handler = handler_;
    if (handler) handler(held->event, held->members);
  }
}

void EventSubscription::tell(Event event, Json members) {
  if (snapshot_) return snapshot_->hold(std::move(event), std::move(members));
  const Client::EventHandler handler = handler_;
  if (handler) handler(event, members);
}

void EventSubscription::take_event(const Json& params) {
  auto event = read_result<Event>(params);
  if (!event) return calls_.bad_notification(event.error());
  tell(*std::move(event), params);
}

void EventSubscription::take_lost(const Json& params) {
  const auto lost = read_result<EventsLost>(params);
  if (!lost) return calls_.bad_notification(lost.error());
  tell(Event{.seq = lost->seq, .type = "events.lost"}, params);
}

}  // namespace connd::ipc
