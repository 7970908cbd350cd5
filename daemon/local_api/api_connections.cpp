// SPDX-License-Identifier: GPL-3.0-or-later
// connection.*, policy.register
#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "daemon/local_api/api.h"
#include "daemon/local_api/api_page.h"
#include "daemon/local_api/api_views.h"

namespace connd::daemon::api {
namespace {

/// The devices that a PEER argument of connection.close means.
ipc::Outcome<std::set<proto::DeviceId>> devices_of(const IpcServer& server, const std::string& peer) {
  std::set<proto::DeviceId> devices;
  if (const auto account = proto::AccountId::from_hex(peer)) {
    server.manager()->each_connection([&](const ConnectionView& view) {
      if (view.socket != nullptr && view.account == *account) devices.insert(view.socket->peer());
    });
    return devices;
  }
  const auto device = resolve_peer(server, peer);
  if (!device) return device.error();
  devices.insert(*device);
  return devices;
}

Reply answer_question(Call& call, bool accept) {
  const auto params = ipc::read_params<ipc::RequestParams>(call.params);
  if (!params) return params.error();
  if (call.server.questions().answer(call.session.number(), call.session.admin(), params->request, accept))
    return Answer{};
  return ipc::make_error(ipc::Reason::kNotFound, "no such request, or it is over");
}

}  // namespace

Reply connection_list(Call& call) {
  const auto params = ipc::read_params<ipc::PageParams>(call.params);
  if (!params) return params.error();
  return answer(connections(call.server, *params));
}

Reply connection_close(Call& call) {
  const auto params = ipc::read_params<ipc::PeerParams>(call.params);
  if (!params) return params.error();
  ipc::ConnectionCloseResult result;
  ConnectionManager* manager = call.server.manager();
  if (manager == nullptr) return answer(result);
  const auto devices = devices_of(call.server, params->peer);
  if (!devices) return devices.error();
  for (const proto::DeviceId& device : *devices) {
    result.closed += manager->close_connections(device, proto::Reason::kConnectionLost, "closed by an administrator");
  }
  return answer(result);
}

Reply connection_requests(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  return answer(call.server.questions().list());
}

Reply connection_accept(Call& call) {
  return answer_question(call, true);
}

Reply connection_decline(Call& call) {
  return answer_question(call, false);
}

Reply policy_register(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  if (!call.server.questions().register_owner(call.session.number())) {
    return ipc::make_error(ipc::Reason::kBusy, "another client decides about unknown peers");
  }
  return Answer{};
}

ipc::Outcome<ipc::Json> connections(const IpcServer& server, const ipc::PageParams& params) {
  Page page(params);
  const auto after = page.after_number();
  if (!after) return after.error();
  const auto& context = server.context();
  std::vector<std::pair<ConnectionNumber, ConnectionView>> views;
  if (server.manager() != nullptr) {
    server.manager()->each_connection([&](const ConnectionView& view) {
      const ConnectionNumber number = view.socket != nullptr ? view.socket->number() : view.attempt->id().number;
      if (number > *after) views.emplace_back(number, view);
    });
  }
  const std::size_t looked_at = std::min(views.size(), page.most_looked_at());
  const auto end = views.begin() + static_cast<std::ptrdiff_t>(looked_at);
  std::partial_sort(views.begin(), end, views.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto it = views.begin(); it != end; ++it) {
    const auto info = connection_info(it->second, context.stores, context.loop.now());
    if (!page.add(ipc::write_members(info), it->first)) break;
  }
  return std::move(page).result("connections");
}

}  // namespace connd::daemon::api
