// SPDX-License-Identifier: GPL-3.0-or-later
// listen.*
#include "daemon/local_api/api.h"

namespace connd::daemon::api {
namespace {

ipc::Error refused(IpcServer& server, ListenerTable::Refusal refusal) {
  const ListenerLimits& all = server.apps().listeners().limits();
  const UserPlaces& places = server.settings().places;
  switch (refusal) {
    case ListenerTable::Refusal::kReserved:
      return ipc::make_error(ipc::Reason::kNotPermitted, "this uri is reserved to another user or group");
    case ListenerTable::Refusal::kUsersShare:
      return ipc::make_error(ipc::Reason::kResourceLimit,
                             share_text("listeners", places.share(all.in_all), all.in_all));
    case ListenerTable::Refusal::kUsersShareOfNames:
      return ipc::make_error(ipc::Reason::kResourceLimit,
                             share_text("bytes of listeners' names", places.share(all.name_bytes), all.name_bytes));
    case ListenerTable::Refusal::kTooMany:
      break;
  }
  return ipc::make_error(ipc::Reason::kResourceLimit, "too many listeners");
}

/// Who alone gets through to the listener. An error, or nothing.
std::optional<ipc::Error> narrow(const IpcServer& server, const ipc::ListenAddParams& params, Listener& listener) {
  if (!params.only_peers) return std::nullopt;
  // An empty list would be nobody, or, taken for none, everybody.
  if (params.only_peers->empty()) {
    return ipc::make_rpc_error(ipc::kInvalidParams, "only_peers: expected an array of 1 to 64 devices or accounts");
  }
  for (const std::string& peer : *params.only_peers) {
    if (const auto account = proto::AccountId::from_hex(peer)) {
      listener.only_accounts.push_back(*account);
      continue;
    }
    const auto device = resolve_peer(server, peer);
    if (!device) return device.error();
    listener.only_devices.push_back(*device);
  }
  return std::nullopt;
}

}  // namespace

Reply listen_add(Call& call) {
  const auto params = ipc::read_params<ipc::ListenAddParams>(call.params);
  if (!params) return params.error();
  const auto peers = ipc::listener_peers(params->peers);
  if (!peers) return peers.error();
  Listener listener;
  listener.client = call.session.number();
  listener.owner = call.session.credentials();
  listener.uri = params->uri;
  listener.prefix = params->prefix;
  listener.mode = params->mode;
  listener.strict_end = params->strict_end;
  listener.attach = params->attach;
  listener.any_peer = peers->any;
  for (const std::string& peer : peers->devices) {
    const auto device = resolve_peer(call.server, peer);
    if (!device) return device.error();
    listener.peers.push_back(*device);
  }
  if (auto error = narrow(call.server, *params, listener)) return *std::move(error);
  const auto added = call.server.apps().listeners().add(std::move(listener), call.session.admin());
  if (const auto* taken = std::get_if<ListenerTable::Taken>(&added)) {
    return ipc::make_error(ipc::Reason::kBusy, "somebody listens for this uri already",
                           "uid " + std::to_string(taken->owner));
  }
  if (const auto* refusal = std::get_if<ListenerTable::Refusal>(&added)) return refused(call.server, *refusal);
  return answer(ipc::ListenerHandle{std::get<ListenerNumber>(added)});
}

Reply listen_remove(Call& call) {
  const auto params = ipc::read_params<ipc::ListenerHandle>(call.params);
  if (!params) return params.error();
  const Listener* listener = call.server.apps().listeners().find(params->listener);
  const bool its = listener != nullptr && (listener->client == call.session.number() || call.session.admin());
  if (!its) return ipc::make_error(ipc::Reason::kNotFound, "no such listener");
  call.server.apps().remove_listener(params->listener);
  return Answer{};
}

}  // namespace connd::daemon::api
