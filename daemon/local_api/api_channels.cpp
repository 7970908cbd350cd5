// SPDX-License-Identifier: GPL-3.0-or-later
// channel.*
#include "daemon/local_api/api.h"
#include "daemon/local_api/api_page.h"
#include "daemon/local_api/api_views.h"

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

void answer_open(const ControlServer& clients, ClientNumber client, const ipc::Json& id, ClientOpens::Answer answer) {
  IpcSession* const session = clients.find(client);
  if (session == nullptr) return;
  if (!answer) return session->fail(id, answer.error());
  session->reply(id, ipc::write_members(answer->result), std::move(answer->fd));
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
  auto done = [&clients = call.server.clients(), client = call.session.number(), id = call.id](auto answer) {
    answer_open(clients, client, id, std::move(answer));
  };
  const auto started = call.server.opens().start(call.session, call.id, std::move(request), std::move(done));
  if (!started) return started.error();
  return Later{};
}

Reply channel_cancel(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelCancelParams>(call.params);
  if (!params) return params.error();
  if (!ipc::is_good_id(params->id)) return ipc::make_rpc_error(ipc::kInvalidParams, ipc::kGoodIdExpected);
  if (call.server.cancel_waiting(call.session, params->id)) return Answer{};
  if (call.server.opens().cancel(call.session, params->id)) return Answer{};
  return ipc::make_error(ipc::Reason::kNotFound, "no open with this id waits for its answer");
}

Reply channel_accept(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelAcceptParams>(call.params);
  if (!params) return params.error();
  if (params->attach) {
    if (auto full = call.server.attachments().no_room(call.session)) return *std::move(full);
  }
  auto asked = call.server.apps().take_asked(call.session.number(), params->request);
  if (!asked || call.server.manager() == nullptr) return no_request();
  auto accepted = call.server.manager()->channels().accept(params->request, {params->strict_end, params->attach});
  if (const auto* error = std::get_if<OpenError>(&accepted)) return ipc::make_error(error->reason, error->text);
  IncomingChannel& incoming = asked->incoming;
  ipc::ChannelOpenResult result{
      params->request, incoming.device.hex(), incoming.account.hex(), incoming.half_close, {}};
  if (params->attach) result.token = call.server.attachments().make(call.session, params->request);
  call.server.apps().own(call.session, params->request,
                         {0, 0, 0, incoming.device, incoming.account, std::move(incoming.uri), false});
  return Answer{ipc::write_members(result), std::move(std::get<ipc::Fd>(accepted))};
}

Reply channel_decline(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelDeclineParams>(call.params);
  if (!params) return params.error();
  const auto asked = call.server.apps().take_asked(call.session.number(), params->request);
  if (!asked || call.server.manager() == nullptr) return no_request();
  call.server.manager()->channels().refuse(params->request, proto::Reason::kDeclined, params->reason.value_or(""));
  return Answer{};
}

Reply channel_attach(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelAttachParams>(call.params);
  if (!params) return params.error();
  if (!call.server.fresh(call.session)) {
    return ipc::make_error(ipc::Reason::kInvalidArgument,
                           "a connection that becomes a channel has nothing else, and says nothing before the answer");
  }
  Attachments& attachments = call.server.attachments();
  const auto channel = attachments.take(params->token, call.session.credentials().uid);
  if (!channel) {
    return ipc::make_error(ipc::Reason::kNotFound, "no such token, or its time is over, or its channel has ended");
  }
  attachments.attach(*channel, call.session.hand_over(call.id, ipc::write_members(ipc::ChannelParams{*channel})));
  return Later{};  // it has been said
}

Reply channel_finish(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelParams>(call.params);
  if (!params) return params.error();
  ConnectionManager* manager = call.server.manager();
  if (call.server.apps().visible(call.session, params->channel) == nullptr || manager == nullptr) return no_channel();
  if (!manager->channels().finish(params->channel)) return no_channel();
  return Answer{};
}

Reply channel_close(Call& call) {
  const auto params = ipc::read_params<ipc::ChannelParams>(call.params);
  if (!params) return params.error();
  ConnectionManager* manager = call.server.manager();
  if (call.server.apps().visible(call.session, params->channel) == nullptr || manager == nullptr) return no_channel();
  if (!manager->channels().close(params->channel, proto::Reason::kCancelled,
                                 "it was closed by its application, or by an administrator")) {
    return no_channel();
  }
  return Answer{};
}

Reply channel_list(Call& call) {
  const auto params = ipc::read_params<ipc::PageParams>(call.params);
  if (!params) return params.error();
  return answer(channels_seen_by(call.server, call.session, *params));
}

ipc::Outcome<ipc::Json> channels_seen_by(const IpcServer& server, const IpcSession& session,
                                         const ipc::PageParams& params) {
  Page page(params);
  const auto after = page.after_number();
  if (!after) return after.error();
  const ConnectionManager* manager = server.manager();
  const ChannelOwners& owners = server.apps().owners();
  const proto::TimePoint now = server.context().loop.now();
  const auto add = [&](proto::ChannelHandle channel, const OwnedChannel& owned) {
    bool room = true;
    manager->channels().see(channel, [&](const ChannelView& view) {
      room = page.add(ipc::write_members(channel_info(view, session.admin() ? &owned : nullptr, now)), channel);
    });
    return room;
  };
  if (manager != nullptr && session.admin()) owners.each_after(*after, add);
  if (manager != nullptr && !session.admin()) owners.each_after(session.number(), *after, add);
  return std::move(page).result("channels");
}

}  // namespace connd::daemon::api
