// SPDX-License-Identifier: GPL-3.0-or-later
// events.*
#include "daemon/local_api/api.h"
#include "daemon/local_api/api_page.h"

namespace connd::daemon::api {
namespace {

ipc::Error too_long() {
  return ipc::make_error(ipc::Reason::kResourceLimit,
                         "the snapshot does not fit into a line of 1 MiB: ask for it as a stream (stream: true)");
}

/// Connections and channels, all of them. Error: they do not fit into a line together.
ipc::Outcome<void> fill(const IpcServer& server, const IpcSession& session, ipc::Json& snapshot) {
  for (const auto list : {SnapshotStreams::List::kConnections, SnapshotStreams::List::kChannels}) {
    const bool of_connections = list == SnapshotStreams::List::kConnections;
    const auto whole = of_connections ? connections(server, {}) : channels_seen_by(server, session, {});
    if (!whole) return too_long();
    snapshot.update(*whole);
  }
  constexpr std::size_t kLineAround = 1'024;  // a long id, and what every answer has
  if (json_bytes(snapshot) + kLineAround > ipc::kMaxLineBytes) return too_long();
  return {};
}

}  // namespace

ipc::Outcome<ipc::Json> snapshot_page(const IpcServer& server, const IpcSession& session, SnapshotStreams::List list,
                                      const std::string& after) {
  const ipc::PageParams params{ipc::kMaxPageItems, after};
  return list == SnapshotStreams::List::kConnections ? connections(server, params)
                                                     : channels_seen_by(server, session, params);
}

Reply events_subscribe(Call& call) {
  const auto params = ipc::read_params<ipc::SubscribeParams>(call.params);
  if (!params) return params.error();
  const DaemonView& view = call.server.context().view;
  ipc::Snapshot head;
  head.ready = view.ready();
  head.network = view.network();
  head.reachable = view.reachable();
  ipc::Json snapshot = ipc::write_members(head);
  if (!params->stream) {
    // Before it subscribes: who was told of an error has no subscription by it.
    if (const auto filled = fill(call.server, call.session, snapshot); !filled) return filled.error();
  }
  snapshot["seq"] = call.session.subscribe();
  call.server.feed().subscribe(call.session);
  call.server.snapshots().end(call.session.number());
  if (params->stream) call.server.snapshots().begin(call.session.number());
  return Answer{std::move(snapshot)};
}

Reply events_unsubscribe(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  call.session.unsubscribe();
  call.server.feed().unsubscribe(call.session.number());
  call.server.snapshots().end(call.session.number());
  return Answer{};
}

}  // namespace connd::daemon::api
