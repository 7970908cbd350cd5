// SPDX-License-Identifier: GPL-3.0-or-later
// events.*
#include "daemon/local_api/api.h"

namespace connd::daemon::api {

Reply events_subscribe(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  const DaemonView& view = call.server.context().view;
  auto channels = call.server.channels_seen_by(call.session);
  if (!channels) return channels.error();
  ipc::Snapshot snapshot;
  snapshot.seq = call.session.subscribe();
  snapshot.ready = view.ready();
  snapshot.network = view.network();
  snapshot.reachable = view.reachable();
  snapshot.connections = call.server.connections();
  snapshot.channels = *std::move(channels);
  return answer(snapshot);
}

Reply events_unsubscribe(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  call.session.unsubscribe();
  return Answer{};
}

}  // namespace connd::daemon::api
