// SPDX-License-Identifier: GPL-3.0-or-later
// events.*
#include "daemon/local_api/api.h"

namespace connd::daemon::api {

Reply events_subscribe(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  const DaemonView& view = call.server.context().view;
  auto channels = channels_seen_by(call.server, call.session);
  if (!channels) return channels.error();
  ipc::Snapshot snapshot;
  snapshot.seq = call.session.subscribe();
  call.server.feed().subscribe(call.session);
  snapshot.ready = view.ready();
  snapshot.network = view.network();
  snapshot.reachable = view.reachable();
  snapshot.connections = connections(call.server);
  snapshot.channels = *std::move(channels);
  return answer(snapshot);
}

Reply events_unsubscribe(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  call.session.unsubscribe();
  call.server.feed().unsubscribe(call.session.number());
  return Answer{};
}

}  // namespace connd::daemon::api
