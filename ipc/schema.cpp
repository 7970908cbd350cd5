// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/schema.h"

#include "ipc/api_admin.h"

namespace connd::ipc {
namespace {

template <class Params, class Result>
Json method(bool fd = false) {
  return {{"params", schema_of<Params>()}, {"result", schema_of<Result>()}, {"fd", fd}};
}
template <class Params>
Json notification(bool fd = false) {
  return {{"params", schema_of<Params>()}, {"fd", fd}};
}

Json methods() {
  return {
      {"hello", method<HelloParams, HelloResult>()},
      {"rpc.discover", method<Nothing, Nothing>()},
      {"daemon.status", method<Nothing, DaemonStatus>()},
      {"channel.open", method<ChannelOpenParams, ChannelOpenResult>(true)},
      {"channel.cancel", method<ChannelCancelParams, Nothing>()},
      {"channel.accept", method<ChannelAcceptParams, ChannelOpenResult>(true)},
      {"channel.decline", method<ChannelDeclineParams, Nothing>()},
      {"channel.finish", method<ChannelParams, Nothing>()},
      {"channel.close", method<ChannelParams, Nothing>()},
      {"channel.list", method<Nothing, ChannelListResult>()},
      {"listen.add", method<ListenAddParams, ListenerHandle>()},
      {"listen.remove", method<ListenerHandle, Nothing>()},
      {"connection.list", method<Nothing, ConnectionListResult>()},
      {"connection.close", method<PeerParams, ConnectionCloseResult>()},
      {"connection.accept", method<RequestParams, Nothing>()},
      {"connection.decline", method<RequestParams, Nothing>()},
      {"policy.register", method<Nothing, Nothing>()},
      {"trust.allow", method<TrustParams, TrustEntry>()},
      {"trust.ban", method<TrustParams, TrustEntry>()},
      {"trust.unset", method<TrustParams, TrustEntry>()},
      {"trust.list", method<Nothing, TrustListResult>()},
      {"alias.set", method<Alias, Nothing>()},
      {"alias.remove", method<AliasRemoveParams, Nothing>()},
      {"alias.list", method<Nothing, AliasListResult>()},
      {"crl.add", method<CrlAddParams, CrlEntry>()},
      {"crl.remove", method<CrlRemoveParams, Nothing>()},
      {"crl.list", method<Nothing, CrlListResult>()},
      {"identity.show", method<Nothing, IdentityResult>()},
      {"identity.request", method<Nothing, CertificateRequest>()},
      {"identity.sign", method<CertificateRequest, IdentitySignResult>()},
      {"identity.import", method<IdentityImportParams, Nothing>()},
      {"identity.export_account", method<IdentityExportParams, IdentityExportResult>()},
      {"identity.forget_account_key", method<Nothing, Nothing>()},
      {"events.subscribe", method<Nothing, Snapshot>()},
      {"events.unsubscribe", method<Nothing, Nothing>()},
  };
}

Json notifications() {
  return {
      {"channel.opened", notification<ChannelOpened>(true)},
      {"channel.request", notification<ChannelRequested>()},
      {"channel.request_cancelled", notification<RequestCancelled>()},
      {"channel.closed", notification<ChannelClosed>()},
      {"connection.request", notification<ConnectionRequested>()},
      {"connection.request_cancelled", notification<RequestCancelled>()},
      {"event", notification<Event>()},
      {"events.lost", notification<EventsLost>()},
  };
}

}  // namespace

Json api_schema() {
  return {{"api", kApiVersion}, {"methods", methods()}, {"notifications", notifications()}};
}

}  // namespace connd::ipc
