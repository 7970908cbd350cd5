// SPDX-License-Identifier: GPL-3.0-or-later
// listen.*
#include "daemon/api.h"

namespace connd::daemon::api {

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
  listener.any_peer = peers->any;
  for (const std::string& peer : peers->devices) {
    const auto device = resolve_peer(call.server, peer);
    if (!device) return device.error();
    listener.peers.push_back(*device);
  }
  const auto added = call.server.listeners().add(std::move(listener));
  if (const auto* taken = std::get_if<ListenerTable::Taken>(&added)) {
    return ipc::make_error(ipc::Reason::kBusy, "somebody listens for this uri already",
                           "uid " + std::to_string(taken->owner));
  }
  if (const auto* refusal = std::get_if<ListenerTable::Refusal>(&added)) {
    const bool reserved = *refusal == ListenerTable::Refusal::kReserved;
    return reserved ? ipc::make_error(ipc::Reason::kNotPermitted, "this uri is reserved to another user or group")
                    : ipc::make_error(ipc::Reason::kResourceLimit, "too many listeners");
  }
  return answer(ipc::ListenerHandle{std::get<ListenerNumber>(added)});
}

Reply listen_remove(Call& call) {
  const auto params = ipc::read_params<ipc::ListenerHandle>(call.params);
  if (!params) return params.error();
  const Listener* listener = call.server.listeners().find(params->listener);
  const bool its = listener != nullptr && (listener->client == call.session.number() || call.session.admin());
  if (!its) return ipc::make_error(ipc::Reason::kNotFound, "no such listener");
  call.server.listeners().remove(params->listener);
  call.server.refuse_listener(params->listener);
  return Answer{};
}

}  // namespace connd::daemon::api
