// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/snapshot_streams.h"

#include "ipc/api_admin.h"

namespace connd::daemon {

bool SnapshotStreams::work(IpcSession& session) {
  const auto stream = streams_.find(session.number());
  if (stream == streams_.end() || session.state() != IpcSession::State::kOpen) return false;
  if (session.queued_bytes() > kMaxQueued) return false;  // there is a turn when it has read
  Place& place = stream->second;
  const bool connections = place.list == List::kConnections;
  const char* const name = connections ? "connections" : "channels";
  auto page = make_page_(session, place.list, place.after);
  if (!page) return false;  // a place of ours is always one
  ipc::Json part = {{"seq", session.event_seq()}, {name, std::move((*page)[name])}, {"done", false}};
  if (const auto next = page->find("next"); next != page->end()) {
    place.after = next->get<std::string>();
  } else if (connections) {
    place = {List::kChannels, {}};
  } else {
    part["done"] = true;
    streams_.erase(stream);
  }
  session.notify("events.snapshot", std::move(part));
  return true;  // also for the last: it has to be written
}

}  // namespace connd::daemon
