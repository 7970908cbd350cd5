// SPDX-License-Identifier: GPL-3.0-or-later
// channel.*
#include "daemon/local_api/api.h"

namespace connd::daemon::api {
namespace {

ipc::Error no_channel() {
  return ipc::make_error(ipc::Reason::kNotFound, "no such channel, or it has ended");
}
ipc::Error no_request() {
  return ipc::make_error(ipc::Reason::kNotFound, "no such request, or it is over");
}

/// Whom an open is for: a device, or an account, maybe narrowed to a device. An error, or nothing.
std::optional<ipc::Error> address(const IpcServer& server, const ipc::ChannelOpenParams& params, OpenRequest& request) {
  if (const auto account = proto::AccountId::from_hex(params.peer)) request.account = *account;
  if (request.account && !params.device) return std::nullopt;
  const auto device = resolve_peer(server, params.device.value_or(params.peer));
  if (!device) return device.error();
  if (!request.account && params.device) {
    return ipc::make_error(ipc::Reason::kInvalidArgument, "device narrows an account: peer has to be an account id");
  }
  request.peer = *device;
  return std::nullopt;
}

}  // namespace

Reply channel_open(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelOpenParams>(call.params);
  if (!params) return params.error();
  OpenRequest request;
  if (const auto refused = address(call.server, *params, request)) return *refused;
  request.uri = params->uri;
  request.unique = params->unique;
  request.options.strict_end = params->strict_end;
  request.options.detached = params->attach;
  request.timeout = call.server.settings().open_time;
  if (call.params.contains("timeout")) {
    // Rounded up: an open of half a millisecond is not one of none.
    request.timeout = std::chrono::ceil<proto::Duration>(std::chrono::duration<double>(params->timeout));
  }
  const auto started = call.server.start_open(call.session, call.id, std::move(request));
  if (!started) return started.error();
  return Later{};
}

Reply channel_cancel(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelCancelParams>(call.params);
  if (!params) return params.error();
  if (!ipc::is_good_id(params->id)) return ipc::make_rpc_error(ipc::kInvalidParams, ipc::kGoodIdExpected);
  if (call.server.cancel_waiting(call.session, params->id)) return Answer{};
  for (const auto& [key, open] : call.session.opens()) {
    if (open.id != params->id) continue;
    const OpenNumber number = open.open;  // the entry goes when it is answered
    ConnectionManager* manager = call.server.manager();
    if (manager != nullptr && manager->cancel_open(number, proto::Reason::kCancelled)) {
      call.server.cancelled(call.session);
      return Answer{};
    }
    break;
  }
  return ipc::make_error(ipc::Reason::kNotFound, "no open with this id waits for its answer");
}

Reply channel_accept(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelAcceptParams>(call.params);
  if (!params) return params.error();
  if (params->attach) {
    if (auto full = call.server.no_token(call.session)) return *std::move(full);
  }
  auto asked = call.server.take_asked(call.session, params->request);
  if (!asked || call.server.manager() == nullptr) return no_request();
  auto accepted = call.server.manager()->channels().accept(params->request, {params->strict_end, params->attach});
  if (const auto* error = std::get_if<OpenError>(&accepted)) return ipc::make_error(error->reason, error->text);
  IncomingChannel& incoming = asked->incoming;
  ipc::ChannelOpenResult result{
      params->request, incoming.device.hex(), incoming.account.hex(), incoming.half_close, {}};
  if (params->attach) result.token = call.server.new_token(call.session, params->request);
  call.server.own(call.session, params->request,
                  {0, 0, 0, incoming.device, incoming.account, std::move(incoming.uri), false});
  return Answer{ipc::write_members(result), std::move(std::get<ipc::Fd>(accepted))};
}

Reply channel_decline(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelDeclineParams>(call.params);
  if (!params) return params.error();
  if (!call.server.take_asked(call.session, params->request) || call.server.manager() == nullptr) return no_request();
  call.server.manager()->channels().refuse(params->request, proto::Reason::kDeclined, params->reason.value_or(""));
  return Answer{};
}

Reply channel_attach(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelAttachParams>(call.params);
  if (!params) return params.error();
  const auto attached = call.server.attach(call.session, call.id, params->token);
  if (!attached) return attached.error();
  return Later{};  // it has been said
}

Reply channel_finish(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelParams>(call.params);
  if (!params) return params.error();
  ConnectionManager* manager = call.server.manager();
  if (call.server.visible_channel(call.session, params->channel) == nullptr || manager == nullptr) return no_channel();
  if (!manager->channels().finish(params->channel)) return no_channel();
  return Answer{};
}

Reply channel_close(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelParams>(call.params);
  if (!params) return params.error();
  ConnectionManager* manager = call.server.manager();
  if (call.server.visible_channel(call.session, params->channel) == nullptr || manager == nullptr) return no_channel();
  if (!manager->channels().close(params->channel, proto::Reason::kCancelled,
                                 "it was closed by its application, or by an administrator")) {
    return no_channel();
  }
  return Answer{};
}

Reply channel_list(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  auto channels = call.server.channels_seen_by(call.session);
  if (!channels) return channels.error();
  return answer(ipc::ChannelListResult{*std::move(channels)});
}

}  // namespace connd::daemon::api
