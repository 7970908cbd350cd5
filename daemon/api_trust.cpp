// SPDX-License-Identifier: GPL-3.0-or-later
// trust.*, alias.*
#include <ctime>

#include <spdlog/spdlog.h>

#include "daemon/api.h"

namespace connd::daemon::api {
namespace {

ipc::TrustKind kind_to_api(TrustKind kind) {
  switch (kind) {
    case TrustKind::kAccount:
      return ipc::TrustKind::kAccount;
    case TrustKind::kCa:
      return ipc::TrustKind::kCa;
    case TrustKind::kDevice:
      break;
  }
  return ipc::TrustKind::kDevice;
}
TrustKind kind_from_api(ipc::TrustKind kind) {
  switch (kind) {
    case ipc::TrustKind::kAccount:
      return TrustKind::kAccount;
    case ipc::TrustKind::kCa:
      return TrustKind::kCa;
    case ipc::TrustKind::kDevice:
      break;
  }
  return TrustKind::kDevice;
}

/// Whom the params mean: an id, or an alias.
ipc::Outcome<TrustSubject> subject_of(const IpcServer& server, const ipc::TrustParams& params) {
  if (const auto device = server.context().stores.aliases.resolve(params.id)) {
    if (!params.kind || *params.kind == ipc::TrustKind::kDevice) return TrustSubject(*device);
    return ipc::make_rpc_error(ipc::kInvalidParams, "kind: a device's id or alias is neither an account's nor a CA's");
  }
  const auto account = proto::AccountId::from_hex(params.id);
  if (!account) {
    return ipc::make_error(ipc::Reason::kNotFound, "no such alias, and no id of 64 or 40 hex digits", params.id);
  }
  const ipc::TrustKind kind = params.kind.value_or(ipc::TrustKind::kAccount);
  if (kind == ipc::TrustKind::kDevice) {
    return ipc::make_rpc_error(ipc::kInvalidParams, "id: a device's has 64 hex digits");
  }
  return TrustSubject(kind_from_api(kind), *account);
}

std::optional<std::string> alias_of(const AliasStore& aliases, const TrustSubject& subject) {
  if (subject.kind() != TrustKind::kDevice) return std::nullopt;
  const std::string id = subject.id();
  for (const auto& [name, device] : aliases.list()) {
    if (device.hex() == id) return name;
  }
  return std::nullopt;
}

/// What every change has in common once it is on the disk.
Reply changed(Call& call, const TrustSubject& subject, Trust trust) {
  const auto& context = call.server.context();
  ipc::TrustEntry entry{subject.id(), kind_to_api(subject.kind()), to_api(trust),
                        alias_of(context.stores.aliases, subject)};
  spdlog::info("trust {} {} is {} now, by uid {}", name_of(subject.kind()), entry.id, name_of(trust),
               call.session.credentials().uid);
  context.events.publish(
      "trust.changed",
      {{"id", entry.id}, {"kind", ipc::enum_name(entry.kind)}, {"trust", ipc::enum_name(entry.trust)}});
  if (ConnectionManager* manager = call.server.manager()) manager->trust_changed();
  return answer(entry);
}

Reply set_trust(Call& call, Trust trust) {
  const auto params = ipc::read_params<ipc::TrustParams>(call.params);
  if (!params) return params.error();
  const auto subject = subject_of(call.server, *params);
  if (!subject) return subject.error();
  TrustStore& store = call.server.context().stores.trust;
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  const auto stored = trust == Trust::kAllowed ? store.allow(*subject, now) : store.ban(*subject, now);
  if (!stored) return storage_error(stored.failure());
  return changed(call, *subject, trust);
}

}  // namespace

Reply trust_allow(Call& call) {
  return set_trust(call, Trust::kAllowed);
}

Reply trust_ban(Call& call) {
  return set_trust(call, Trust::kBanned);
}

Reply trust_unset(Call& call) {
  const auto params = ipc::read_params<ipc::TrustParams>(call.params);
  if (!params) return params.error();
  const auto subject = subject_of(call.server, *params);
  if (!subject) return subject.error();
  const auto stored = call.server.context().stores.trust.unset(*subject);
  if (!stored) return storage_error(stored.failure());
  return changed(call, *subject, Trust::kUnknown);
}

Reply trust_list(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  const Stores& stores = call.server.context().stores;
  std::unordered_map<std::string, std::string> names;
  for (const auto& [name, device] : stores.aliases.list()) names.emplace(device.hex(), name);
  ipc::TrustListResult result;
  for (const TrustEntry& entry : stores.trust.list()) {
    auto& item = result.entries.emplace_back();
    item.id = entry.subject.id();
    item.kind = kind_to_api(entry.subject.kind());
    item.trust = to_api(entry.state);
    if (const auto name = names.find(item.id); name != names.end()) item.alias = name->second;
  }
  return answer(result);
}

Reply alias_set(Call& call) {
  const auto params = ipc::read_params<ipc::Alias>(call.params);
  if (!params) return params.error();
  if (const auto good = ipc::check_alias(params->name); !good) return good.error();
  const auto device = proto::DeviceId::from_hex(params->device);
  if (!device) return ipc::make_rpc_error(ipc::kInvalidParams, "device: expected 64 hex digits");
  const auto stored = call.server.context().stores.aliases.set(params->name, *device);
  if (!stored) return storage_error(stored.failure());
  return Answer{};
}

Reply alias_remove(Call& call) {
  const auto params = ipc::read_params<ipc::AliasRemoveParams>(call.params);
  if (!params) return params.error();
  const auto removed = call.server.context().stores.aliases.remove(params->name);
  if (!removed) return storage_error(removed.failure());
  if (!*removed) return ipc::make_error(ipc::Reason::kNotFound, "no such alias");
  return Answer{};
}

Reply alias_list(Call& call) {
  const auto params = ipc::read_params<ipc::Nothing>(call.params);
  if (!params) return params.error();
  ipc::AliasListResult result;
  for (const auto& [name, device] : call.server.context().stores.aliases.list()) {
    result.aliases.push_back({name, device.hex()});
  }
  return answer(result);
}

}  // namespace connd::daemon::api
