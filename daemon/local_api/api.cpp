// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/api.h"

#include <algorithm>
#include <array>

namespace connd::daemon::api {
namespace {

constexpr bool kAdmin = true;
constexpr bool kNeedsManager = true;

constexpr std::array kMethods = {
    Method{"hello", hello},
    Method{"rpc.discover", discover},
    Method{"daemon.status", status},
    Method{"identity.show", identity_show},
    Method{"channel.open", channel_open, false, kNeedsManager},
    Method{"channel.cancel", channel_cancel},
    Method{"channel.accept", channel_accept},
    Method{"channel.decline", channel_decline},
    Method{"channel.attach", channel_attach},
    Method{"channel.finish", channel_finish},
    Method{"channel.close", channel_close},
    Method{"channel.list", channel_list},
    Method{"listen.add", listen_add},
    Method{"listen.remove", listen_remove},
    Method{"connection.list", connection_list},
    Method{"connection.close", connection_close, kAdmin},
    Method{"connection.requests", connection_requests, kAdmin},
    Method{"connection.accept", connection_accept},
    Method{"connection.decline", connection_decline},
    Method{"policy.register", policy_register, kAdmin},
    Method{"trust.allow", trust_allow, kAdmin},
    Method{"trust.ban", trust_ban, kAdmin},
    Method{"trust.unset", trust_unset, kAdmin},
    Method{"trust.list", trust_list, kAdmin},
    Method{"alias.set", alias_set, kAdmin},
    Method{"alias.remove", alias_remove, kAdmin},
    Method{"alias.list", alias_list},
    Method{"identity.request", identity_request, kAdmin},
    Method{"identity.sign", identity_sign, kAdmin},
    Method{"identity.revoke", identity_revoke, kAdmin},
    Method{"identity.import", identity_import, kAdmin},
    Method{"identity.export_account", identity_export_account, kAdmin},
    Method{"identity.forget_account_key", identity_forget_account_key, kAdmin},
    Method{"crl.add", crl_add, kAdmin},
    Method{"crl.remove", crl_remove, kAdmin},
    Method{"crl.list", crl_list, kAdmin},
    Method{"events.subscribe", events_subscribe},
    Method{"events.unsubscribe", events_unsubscribe},
};

Reply run(IpcServer& server, IpcSession& session, const ipc::Request& request) {
  const auto* const method =
      std::find_if(kMethods.begin(), kMethods.end(), [&](const Method& known) { return known.name == request.method; });
  if (method == kMethods.end()) {
    return ipc::make_rpc_error(ipc::kMethodNotFound, "no such method; rpc.discover lists them");
  }
  if (method->admin_only && !session.admin()) {
    return ipc::make_error(ipc::Reason::kNotPermitted,
                           "this needs an administrator: root, or a member of the group jami-connd-admin");
  }
  if (method->needs_manager && server.manager() == nullptr) {
    const auto waits = server.wait_for_start(session, request);
    if (!waits) return waits.error();
    return Later{};
  }
  Call call{server, session, request.id, request.params};
  return method->run(call);
}

}  // namespace

std::span<const Method> methods() {
  return kMethods;
}

void dispatch(IpcServer& server, IpcSession& session, const ipc::Request& request) {
  Reply reply = run(server, session, request);
  if (auto* answer = std::get_if<Answer>(&reply)) {
    session.reply(request.id, std::move(answer->result), std::move(answer->fd));
  } else if (const auto* error = std::get_if<ipc::Error>(&reply)) {
    session.fail(request.id, *error);
  }
}

bool looks_like_an_id(std::string_view text) {
  constexpr std::size_t kLeast = 16;  // so many digits are no alias
  return text.size() >= kLeast && text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

namespace {
/// What was given where a device is meant: mostly an id of the other kind, or one that was not copied whole.
std::string no_device_text(std::string_view peer) {
  if (!looks_like_an_id(peer)) return "no such alias, and no device id (64 hex digits)";
  if (peer.size() == 2 * proto::AccountId::kBytes) {
    return "this is no device id: it has 40 hex digits, as the id of an account or CA, and a device id has 64";
  }
  return "this is no device id: it has " + std::to_string(peer.size()) + " hex digits, and a device id has 64";
}
}  // namespace

ipc::Outcome<proto::DeviceId> resolve_peer(const IpcServer& server, std::string_view peer) {
  if (const auto device = server.context().stores.aliases.resolve(peer)) return *device;
  return ipc::make_error(ipc::Reason::kNotFound, no_device_text(peer), std::string(peer));
}

ipc::Trust to_api(Trust trust) {
  switch (trust) {
    case Trust::kAllowed:
      return ipc::Trust::kAllowed;
    case Trust::kBanned:
      return ipc::Trust::kBanned;
    case Trust::kUnknown:
      break;
  }
  return ipc::Trust::kUnknown;
}

ipc::Error storage_error(const Failure& failure) {
  const bool full = failure.code == std::errc::no_space_on_device || failure.code == std::errc::file_too_large ||
                    failure.code == std::errc::value_too_large ||
                    failure.code == std::errc::resource_unavailable_try_again;
  return ipc::make_error(full ? ipc::Reason::kResourceLimit : ipc::Reason::kInternal,
                         "it could not be stored; nothing has changed", failure.text);
}

StateDisk::Done answer_stored(const Call& call, ipc::Json result, std::function<void()> taken_back) {
  return [&server = call.server, client = call.session.number(), id = call.id, result = std::move(result),
          taken_back = std::move(taken_back)](const Outcome<void>& stored) {
    if (stored) return server.answer_later(client, id, result);
    if (taken_back) taken_back();
    server.answer_later(client, id, storage_error(stored.failure()));
  };
}

}  // namespace connd::daemon::api
