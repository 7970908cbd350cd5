// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/schema.h"

#include <algorithm>

#include "ipc/api_admin.h"
#include "ipc/api_events.h"

namespace connd::ipc {
namespace {

constexpr const char* kOpenRpcVersion = "1.2.6";

/// OpenRPC lists params one by one, each with a schema of its own.
Json content_descriptors(const Json& object) {
  const Json required = object.value("required", Json::array());
  const Json properties = object.value("properties", Json::object());
  Json out = Json::array();
  for (const auto& [name, schema] : properties.items()) {
    const bool needed = std::find(required.begin(), required.end(), name) != required.end();
    out.push_back({{"name", name}, {"required", needed}, {"schema", schema}});
  }
  return out;
}

template <class Params>
Json message(bool fd) {
  Json out = {{"paramStructure", "by-name"}, {"params", content_descriptors(schema_of<Params>())}};
  if (fd) out["x-fd"] = true;
  return out;
}
template <class Params, class Result>
Json method(bool fd = false) {
  Json out = message<Params>(fd);
  out["result"] = {{"name", "result"}, {"schema", schema_of<Result>()}};
  return out;
}
template <class Params>
Json notification(bool fd = false) {
  return message<Params>(fd);
}
/// Of something whose further members its type decides.
Json open(Json message) {
  message["x-open"] = true;
  return message;
}

/// An event of one type, whole: what all have, and its own members.
template <class Members>
Json event() {
  Json out = schema_of<Event>();
  const Json own = schema_of<Members>();
  out["properties"].update(own["properties"]);
  out["required"].insert(out["required"].end(), own["required"].begin(), own["required"].end());
  return out;
}
Json events() {
  return {
      {"channel.closed", event<ChannelClosedEvent>()},       {"channel.opened", event<ChannelInfo>()},
      {"connection.closed", event<ConnectionClosedEvent>()}, {"connection.connected", event<ConnectedEvent>()},
      {"connection.connecting", event<ConnectingEvent>()},   {"connection.failed", event<ConnectionFailedEvent>()},
      {"connection.progress", event<ProgressEvent>()},       {"identity.cloned", event<IdentityClonedEvent>()},
      {"identity.ready", event<IdentityReadyEvent>()},       {"network.changed", event<NetworkChangedEvent>()},
      {"network.reachable", event<NetworkReachableEvent>()}, {"network.state", event<NetworkStateEvent>()},
      {"request.refused", event<RequestRefusedEvent>()},     {"trust.changed", event<TrustChangedEvent>()},
  };
}
Json typed_events(Json message) {
  message["x-types"] = events();
  return message;
}

/// Names of limits and metrics are the daemon's; each is a number.
Json with_numbers(Json message) {
  Json& properties = message["result"]["schema"]["properties"];
  for (const char* name : {"limits", "metrics"}) {
    properties[name] = {{"type", "object"}, {"additionalProperties", {{"type", "number"}, {"minimum", 0}}}};
  }
  return message;
}

/// Of a param whose type the code does not name, for it is one of several.
Json with_param(Json message, const char* name, Json schema) {
  for (Json& param : message["params"]) {
    if (param["name"] == name) param["schema"] = std::move(schema);
  }
  return message;
}

/// See `listener_peers`.
Json listener_peers_schema() {
  const Json peer = {{"type", "string"}, {"minLength", 1}, {"maxLength", kMaxNameBytes}};
  return {{"anyOf",
           {{{"enum", {"allowed", "any"}}},
            {{"type", "array"}, {"items", peer}, {"minItems", 1}, {"maxItems", kMaxListenerPeers}}}}};
}

/// JSON-RPC 2.0, section 4, without null.
Json request_id_schema() {
  return {{"anyOf",
           {{{"type", "string"}, {"maxLength", kMaxIdBytes}},
            {{"type", "integer"},
             {"minimum", -static_cast<std::int64_t>(kMaxSafeInteger)},
             {"maximum", kMaxSafeInteger}}}}};
}

Json methods() {
  return {
      {"hello", method<HelloParams, HelloResult>()},
      {"rpc.discover", open(method<Nothing, Nothing>())},
      {"daemon.status", with_numbers(method<Nothing, DaemonStatus>())},
      {"channel.open", method<ChannelOpenParams, ChannelOpenResult>(true)},
      {"channel.cancel", with_param(method<ChannelCancelParams, Nothing>(), "id", request_id_schema())},
      {"channel.accept", method<ChannelAcceptParams, ChannelOpenResult>(true)},
      {"channel.decline", method<ChannelDeclineParams, Nothing>()},
      {"channel.attach", method<ChannelAttachParams, ChannelParams>()},
      {"channel.finish", method<ChannelParams, Nothing>()},
      {"channel.close", method<ChannelParams, Nothing>()},
      {"channel.list", method<PageParams, ChannelListResult>()},
      {"listen.add", with_param(method<ListenAddParams, ListenerHandle>(), "peers", listener_peers_schema())},
      {"listen.remove", method<ListenerHandle, Nothing>()},
      {"connection.list", method<PageParams, ConnectionListResult>()},
      {"connection.close", method<PeerParams, ConnectionCloseResult>()},
      {"connection.requests", method<Nothing, ConnectionRequestsResult>()},
      {"connection.accept", method<RequestParams, Nothing>()},
      {"connection.decline", method<RequestParams, Nothing>()},
      {"policy.register", method<Nothing, Nothing>()},
      {"trust.allow", method<TrustAllowParams, TrustEntry>()},
      {"trust.ban", method<TrustParams, TrustEntry>()},
      {"trust.unset", method<TrustParams, TrustEntry>()},
      {"trust.list", method<PageParams, TrustListResult>()},
      {"alias.set", method<Alias, Nothing>()},
      {"alias.remove", method<AliasRemoveParams, Nothing>()},
      {"alias.list", method<PageParams, AliasListResult>()},
      {"crl.add", method<CrlAddParams, CrlEntry>()},
      {"crl.remove", method<CrlRemoveParams, Nothing>()},
      {"crl.list", method<PageParams, CrlListResult>()},
      {"identity.show", method<Nothing, IdentityResult>()},
      {"identity.request", method<Nothing, CertificateRequest>()},
      {"identity.sign", method<CertificateRequest, IdentitySignResult>()},
      {"identity.revoke", method<IdentityRevokeParams, IdentityRevokeResult>()},
      {"identity.import", method<IdentityImportParams, IdentityImportResult>()},
      {"identity.export_account", method<IdentityExportParams, IdentityExportResult>()},
      {"identity.forget_account_key", method<Nothing, Nothing>()},
      {"events.subscribe", method<SubscribeParams, Snapshot>()},
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
      {"event", typed_events(open(notification<Event>()))},
      {"events.lost", notification<EventsLost>()},
      {"events.snapshot", notification<SnapshotPart>()},
  };
}

/// By name to OpenRPC's list.
Json listed(const Json& by_name) {
  Json out = Json::array();
  for (const auto& [name, message] : by_name.items()) {
    out.push_back(message);
    out.back()["name"] = name;
  }
  return out;
}

/// What any method may answer, by reason; the error's `data` has the schema components/schemas/ErrorData.
Json errors() {
  Json out = Json::object();
  for (const proto::ReasonInfo& info : proto::kReasons) {
    out[std::string(info.name)] = {{"code", code_of(info.reason)}, {"message", std::string(info.text)}};
  }
  return out;
}

Json error_data() {
  Json reasons = Json::array();
  for (const proto::ReasonInfo& info : proto::kReasons) reasons.push_back(std::string(info.name));
  const Json text = {{"type", "string"}};
  return {{"type", "object"},
          {"properties",
           {{"reason", {{"type", "string"}, {"enum", reasons}}},
            {"retryable", {{"type", "boolean"}}},
            {"peer", text},
            {"detail", text}}},
          {"required", {"reason", "retryable"}}};
}

}  // namespace

Json api_schema() {
  return {{"openrpc", kOpenRpcVersion},
          {"info", {{"title", "jami-connd"}, {"version", std::to_string(kApiVersion)}}},
          {"methods", listed(methods())},
          {"components", {{"errors", errors()}, {"schemas", {{"ErrorData", error_data()}}}}},
          {"x-notifications", listed(notifications())}};
}

}  // namespace connd::ipc
