// SPDX-License-Identifier: GPL-3.0-or-later
/// The methods of the local API (ipc/PROTOCOL.md, section 7): one table, one function each. They read params, ask the
/// IpcServer and what stands behind it, and make results; they keep no state.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <variant>

#include "daemon/local_api/ipc_server.h"

namespace connd::daemon::api {

struct Call {
  IpcServer& server;
  IpcSession& session;
  const ipc::Json& id;
  const ipc::Json& params;
};
/// A result, with its fd if it has one.
struct Answer {
  ipc::Json result = ipc::Json::object();
  ipc::Fd fd{};
};
/// The answer comes later.
struct Later {};
using Reply = std::variant<Answer, ipc::Error, Later>;

struct Method {
  std::string_view name;
  Reply (*run)(Call&);
  bool admin_only = false;
  /// Needs the ConnectionManager; waits for one, within the call's time.
  bool needs_manager = false;
};
/// In no particular order.
[[nodiscard]] std::span<const Method> methods();
/// Runs what a client asked for, and answers it.
void dispatch(IpcServer& server, IpcSession& session, const ipc::Request& request);

// What more than one method needs.
/// So many hex digits, and nothing else, that an id must be meant, of whatever kind or length.
[[nodiscard]] bool looks_like_an_id(std::string_view text);
/// A device id or an alias; not-found.
[[nodiscard]] ipc::Outcome<proto::DeviceId> resolve_peer(const IpcServer& server, std::string_view peer);
[[nodiscard]] ipc::Trust to_api(Trust trust);
[[nodiscard]] ipc::CrlEntry entry_of(const std::string& id, const proto::RevocationList& list);
/// What the disk said.
[[nodiscard]] ipc::Error storage_error(const Failure& failure);
/// Answers the call with `result`, once what it has changed is on the disk; or with what the disk said, after
/// `taken_back`.
[[nodiscard]] StateDisk::Done answer_stored(const Call& call, ipc::Json result, std::function<void()> taken_back = {});
/// As channel.list and the snapshot have them.
[[nodiscard]] ipc::Outcome<ipc::Json> channels_seen_by(const IpcServer& server, const IpcSession& session,
                                                       const ipc::PageParams& params);
/// As connection.list and the snapshot have them.
[[nodiscard]] ipc::Outcome<ipc::Json> connections(const IpcServer& server, const ipc::PageParams& params);
/// A page of either, for a snapshot that comes as a stream.
[[nodiscard]] ipc::Outcome<ipc::Json> snapshot_page(const IpcServer& server, const IpcSession& session,
                                                    SnapshotStreams::List list, const std::string& after);
template <class Result>
Answer answer(const Result& result) {
  return {ipc::write_members(result)};
}
inline Reply answer(ipc::Outcome<ipc::Json> result) {
  if (!result) return result.error();
  return Answer{*std::move(result)};
}

// api_daemon.cpp
Reply hello(Call& call);
Reply discover(Call& call);
Reply status(Call& call);
Reply identity_show(Call& call);
// api_channels.cpp
Reply channel_open(Call& call);
Reply channel_cancel(Call& call);
Reply channel_accept(Call& call);
Reply channel_decline(Call& call);
Reply channel_attach(Call& call);
Reply channel_finish(Call& call);
Reply channel_close(Call& call);
Reply channel_list(Call& call);
// api_listeners.cpp
Reply listen_add(Call& call);
Reply listen_remove(Call& call);
// api_connections.cpp
Reply connection_list(Call& call);
Reply connection_close(Call& call);
Reply connection_requests(Call& call);
Reply connection_accept(Call& call);
Reply connection_decline(Call& call);
Reply policy_register(Call& call);
// api_trust.cpp
Reply trust_allow(Call& call);
Reply trust_ban(Call& call);
Reply trust_unset(Call& call);
Reply trust_list(Call& call);
Reply alias_set(Call& call);
Reply alias_remove(Call& call);
Reply alias_list(Call& call);
// api_identity.cpp
Reply identity_request(Call& call);
Reply identity_sign(Call& call);
Reply identity_revoke(Call& call);
Reply identity_import(Call& call);
Reply identity_export_account(Call& call);
Reply identity_forget_account_key(Call& call);
// api_crl.cpp
Reply crl_add(Call& call);
Reply crl_remove(Call& call);
Reply crl_list(Call& call);
// api_events.cpp
Reply events_subscribe(Call& call);
Reply events_unsubscribe(Call& call);

}  // namespace connd::daemon::api
