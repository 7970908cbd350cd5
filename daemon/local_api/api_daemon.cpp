// SPDX-License-Identifier: GPL-3.0-or-later
// hello, rpc.discover, daemon.status, identity.show
#include <unistd.h>

#include <algorithm>

#include "daemon/local_api/api.h"
#include "daemon/local_api/metrics.h"
#include "ipc/schema.h"

namespace connd::daemon::api {
namespace {

void add_own_limits(const IpcServer& server, ipc::Json& limits) {
  const IpcSettings& settings = server.settings();
  limits["max_clients"] = settings.max_clients;
  limits["max_channels_per_client"] = settings.max_channels_per_client;
  limits["max_uncollected_fds"] = settings.max_uncollected_fds;
  limits["max_requests_in_flight"] = ipc::kMaxRequestsInFlight;
  limits["max_asked_per_client"] = settings.max_asked_per_client;
  limits["max_listeners"] = settings.listeners.in_all;
  limits["max_listeners_per_client"] = settings.listeners.per_client;
  limits["max_user_share"] = settings.places.percent;
  limits["accept_timeout_s"] = std::chrono::duration<double>(settings.ask_time).count();
}

void add_own_metrics(const IpcServer& server, ipc::Json& metrics) {
  const ClientTotals totals = server.totals();
  MetricSources sources;
  sources.clients = &totals;
  sources.clients_held_back = server.clients().shares().total().held_back;
  sources.loop_longest_turn_us = server.context().loop.longest_turn().count();
  add_metrics(sources, metrics);
}

std::vector<ipc::TurnedAway> turned_away(const IpcServer& server) {
  std::vector<ipc::TurnedAway> out;
  const ConnectionManager* manager = server.manager();
  if (manager == nullptr) return out;
  for (const Knock& knock : manager->knocks().list()) {
    const auto age = std::chrono::duration<double>(server.context().loop.now() - knock.at);
    out.push_back({knock.device.hex(), knock.reason, knock.count, std::max(0.0, age.count())});
  }
  return out;
}

}  // namespace

Reply hello(Call& call) {
  const auto params = ipc::read_params<ipc::HelloParams>(call.params);
  if (!params) return params.error();
  call.session.set_name(params->client);
  const DaemonView& view = call.server.context().view;
  ipc::HelloResult result;
  result.server = "jami-connd";
  result.version = CONND_VERSION;
  if (const auto identity = view.identity()) {
    result.device = identity->device;
    result.account = identity->account;
  }
  result.ready = view.ready();
  result.features = {ipc::kFeaturePages, ipc::kFeatureSnapshotStream};
  return answer(result);
}

Reply discover(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  return Answer{ipc::api_schema()};
}

Reply status(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  const DaemonView& view = call.server.context().view;
  ipc::DaemonStatus result;
  result.version = CONND_VERSION;
  view.describe(result);
  result.pid = static_cast<std::uint64_t>(::getpid());
  result.state = view.state();
  if (const auto identity = view.identity()) {
    result.device = identity->device;
    result.account = identity->account;
    result.ca = identity->ca;
  }
  if (const ConnectionManager* manager = call.server.manager()) {
    result.counts.connections = manager->connection_count();
    result.counts.channels = manager->channels().size();
    result.counts.pending_opens = manager->pending_opens();
  }
  result.counts.clients = call.server.clients().client_count();
  result.counts.listeners = call.server.apps().listeners().size();
  add_own_limits(call.server, result.limits);
  if (call.session.admin()) {
    result.users = call.server.users();
    result.turned_away = turned_away(call.server);
  }
  add_own_metrics(call.server, result.metrics);
  return answer(result);
}

Reply identity_show(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  const auto identity = call.server.context().view.identity();
  if (!identity) return ipc::make_error(ipc::Reason::kNotReady, "there is no identity yet");
  return answer(*identity);
}

}  // namespace connd::daemon::api
