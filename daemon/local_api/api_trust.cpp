// SPDX-License-Identifier: GPL-3.0-or-later
// trust.*, alias.*
#include <ctime>
#include <functional>
#include <set>

#include <spdlog/spdlog.h>

#include "daemon/local_api/api.h"
#include "daemon/local_api/api_page.h"

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

/// Devices named in one reply: a line has room for them.
constexpr std::size_t kMaxNamedDevices = 1'024;

/// Calls `visit` with each device of which its ids of 40 digits are known, those that are connected first.
void each_known_device(const IpcServer& server,
                       const std::function<void(const proto::DeviceId&, const FirstMet& ids)>& visit) {
  if (const ConnectionManager* manager = server.manager()) {
    manager->each_connection([&](const ConnectionView& view) {
      const proto::CertificateChain* chain = view.socket != nullptr ? view.socket->peer_chain() : nullptr;
      if (chain != nullptr) visit(view.socket->peer(), FirstMet::of(*chain));
    });
  }
  for (const TrustEntry& entry : server.context().stores.trust.list()) {
    const auto device = proto::DeviceId::from_hex(entry.subject.id());
    if (entry.first_met && device) visit(*device, *entry.first_met);
  }
}

/// Mostly one that was not copied whole.
std::string no_id_text(const std::string& id) {
  if (!looks_like_an_id(id)) return "no such alias, and no id of 64 or 40 hex digits";
  return "this is no id: it has " + std::to_string(id.size()) +
         " hex digits; a device's has 64, an account's or CA's 40";
}

/// Whom the params mean: an id, or an alias.
ipc::Outcome<TrustSubject> subject_of(const IpcServer& server, const ipc::TrustParams& params, bool bans) {
  if (const auto device = server.context().stores.aliases.resolve(params.id)) {
    if (!params.kind || *params.kind == ipc::TrustKind::kDevice) return TrustSubject(*device);
    return ipc::make_rpc_error(ipc::kInvalidParams, "kind: a device's id or alias is neither an account's nor a CA's");
  }
  const auto account = proto::AccountId::from_hex(params.id);
  if (!account) {
    return ipc::make_error(ipc::Reason::kNotFound, no_id_text(params.id), params.id);
  }
  ipc::TrustKind kind = params.kind.value_or(ipc::TrustKind::kAccount);
  // A ban of 40 digits means whatever has that id, a device by its short one included.
  if (kind == ipc::TrustKind::kDevice && bans) kind = ipc::TrustKind::kAccount;
  if (kind == ipc::TrustKind::kDevice) {
    return ipc::make_rpc_error(ipc::kInvalidParams, "id: a device's has 64 hex digits");
  }
  return TrustSubject(kind_from_api(kind), *account);
}

/// What would change nothing, or not what was meant.
std::optional<ipc::Error> pointless(const IpcServer& server, const TrustSubject& subject, Trust trust) {
  const std::string id = subject.id();
  const auto own = server.context().view.identity();
  if (own && (id == own->device || id == own->short_device)) {
    return ipc::make_error(ipc::Reason::kInvalidArgument, "this is the id of this device itself");
  }
  if (trust != Trust::kAllowed || subject.kind() == TrustKind::kDevice) return std::nullopt;
  std::optional<proto::DeviceId> device;
  each_known_device(server, [&](const proto::DeviceId& known, const FirstMet& ids) {
    if (ids.short_id.hex() == id) device = known;
  });
  if (!device) return std::nullopt;
  return ipc::make_error(ipc::Reason::kInvalidArgument,
                         "this is a device's short id; allow the device by its id of 64 digits", device->hex());
}

/// The known devices that a ban of 40 digits means, each once.
std::vector<std::string> devices_below(const IpcServer& server, const TrustSubject& subject) {
  std::set<std::string> out;
  each_known_device(server, [&](const proto::DeviceId& device, const FirstMet& ids) {
    if (out.size() < kMaxNamedDevices && ids.has(subject.id())) out.insert(device.hex());
  });
  return {out.begin(), out.end()};
}

std::optional<std::string> alias_of(const AliasStore& aliases, const TrustSubject& subject) {
  const auto device = proto::DeviceId::from_hex(subject.id());
  const std::string* const name = device ? aliases.name_of(*device) : nullptr;
  return name != nullptr ? std::optional(*name) : std::nullopt;
}

std::string page_key(const TrustSubject& subject) {
  return std::string(name_of(subject.kind())) + ":" + subject.id();
}

/// Nothing behind it: the first page. Error: it is no key.
ipc::Outcome<std::optional<TrustSubject>> subject_from(const std::string& page_key) {
  if (page_key.empty()) return std::optional<TrustSubject>();
  const auto colon = page_key.find(':');
  const auto kind = trust_kind_from(page_key.substr(0, colon));
  if (kind && colon != std::string::npos) {
    if (auto subject = TrustSubject::parse(*kind, page_key.substr(colon + 1))) return std::optional(*subject);
  }
  return Page::bad_key();
}

std::optional<std::vector<ipc::ScopeUri>> scope_to_api(const TrustScope& scope) {
  if (scope.is_everything()) return std::nullopt;
  std::vector<ipc::ScopeUri> out;
  for (const ScopePattern& pattern : scope.patterns()) out.push_back({pattern.uri, pattern.prefix});
  return out;
}

void tell_changed(const IpcServer::Context& context, const TrustSubject& subject, Trust trust) {
  context.events.publish("trust.changed", {{"id", subject.id()},
                                           {"kind", ipc::enum_name(kind_to_api(subject.kind()))},
                                           {"trust", ipc::enum_name(to_api(trust))}});
}

/// What every change has in common: it is in force, and who asked for it hears so when it is on the disk.
Reply changed(Call& call, const TrustSubject& subject, Trust trust, const TrustScope& scope) {
  const auto& context = call.server.context();
  ipc::TrustEntry entry{subject.id(),
                        kind_to_api(subject.kind()),
                        to_api(trust),
                        alias_of(context.stores.aliases, subject),
                        scope_to_api(scope),
                        {},
                        {},
                        {}};
  // Before it takes their connections.
  if (trust == Trust::kBanned && subject.kind() != TrustKind::kDevice) {
    entry.devices = devices_below(call.server, subject);
  }
  spdlog::info("trust {} {} is {} now, by uid {}", name_of(subject.kind()), entry.id, name_of(trust),
               call.session.credentials().uid);
  tell_changed(context, subject, trust);
  if (ConnectionManager* manager = call.server.manager()) manager->trust_changed();
  context.stores.when_trust_stored(answer_stored(call, ipc::write_members(entry), [&context, subject] {
    tell_changed(context, subject, context.stores.trust.state_of(subject));
  }));
  return Later{};
}

/// Absent: everything.
ipc::Outcome<TrustScope> scope_of(const std::optional<std::vector<ipc::ScopeUri>>& uris) {
  if (!uris) return TrustScope();
  std::vector<ScopePattern> patterns;
  for (const ipc::ScopeUri& uri : *uris) patterns.push_back({uri.uri, uri.prefix});
  auto scope = TrustScope::of(std::move(patterns));
  if (!scope) return ipc::make_rpc_error(ipc::kInvalidParams, "scope: " + scope.failure().text);
  return *std::move(scope);
}

Reply set_trust(Call& call, const ipc::TrustParams& params, Trust trust, TrustScope scope) {
  const auto subject = subject_of(call.server, params, trust == Trust::kBanned);
  if (!subject) return subject.error();
  if (auto error = pointless(call.server, *subject, trust)) return *std::move(error);
  TrustStore& store = call.server.context().stores.trust;
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  const auto stored = trust == Trust::kAllowed ? store.allow(*subject, now, scope) : store.ban(*subject, now);
  if (!stored) return storage_error(stored.failure());
  ConnectionManager* manager = call.server.manager();
  const auto device = proto::DeviceId::from_hex(subject->id());
  if (manager != nullptr && device) {
    // Else it is, at the latest, when the device comes.
    if (const auto remembered = manager->remember(*device); !remembered) return storage_error(remembered.failure());
  }
  return changed(call, *subject, trust, scope);
}

}  // namespace

Reply trust_allow(Call& call) {
  auto params = ipc::read_params<ipc::TrustAllowParams>(call.params);
  if (!params) return params.error();
  auto scope = scope_of(params->scope);
  if (!scope) return scope.error();
  return set_trust(call, {std::move(params->id), params->kind}, Trust::kAllowed, *std::move(scope));
}

Reply trust_ban(Call& call) {
  const auto params = ipc::read_params<ipc::TrustParams>(call.params);
  if (!params) return params.error();
  return set_trust(call, *params, Trust::kBanned, {});
}

Reply trust_unset(Call& call) {
  const auto params = ipc::read_params<ipc::TrustParams>(call.params);
  if (!params) return params.error();
  const auto subject = subject_of(call.server, *params, true);
  if (!subject) return subject.error();
  const auto stored = call.server.context().stores.trust.unset(*subject);
  if (!stored) return storage_error(stored.failure());
  return changed(call, *subject, Trust::kUnknown, {});
}

Reply trust_list(Call& call) {
  const auto params = ipc::read_params<ipc::PageParams>(call.params);
  if (!params) return params.error();
  const Stores& stores = call.server.context().stores;
  Page page(*params);
  const auto after = subject_from(page.after());
  if (!after) return after.error();
  for (const TrustEntry& entry : stores.trust.list(*after, page.most_looked_at())) {
    ipc::TrustEntry item;
    item.id = entry.subject.id();
    item.kind = kind_to_api(entry.subject.kind());
    item.trust = to_api(entry.banned_by ? Trust::kBanned : entry.state);
    item.scope = scope_to_api(entry.scope);
    if (entry.banned_by) item.banned_by = entry.banned_by->hex();
    if (entry.first_met && !entry.first_met->issuers.empty()) item.account = entry.first_met->issuers.front().hex();
    item.alias = alias_of(stores.aliases, entry.subject);
    if (!page.add(ipc::write_members(item), page_key(entry.subject))) break;
  }
  return answer(std::move(page).result("entries"));
}

Reply alias_set(Call& call) {
  const auto params = ipc::read_params<ipc::Alias>(call.params);
  if (!params) return params.error();
  if (const auto good = ipc::check_alias(params->name); !good) return good.error();
  const auto device = proto::DeviceId::from_hex(params->device);
  if (!device) return ipc::make_rpc_error(ipc::kInvalidParams, "device: expected 64 hex digits");
  AliasStore& store = call.server.context().stores.aliases;
  if (const auto set = store.set(params->name, *device); !set) return storage_error(set.failure());
  store.when_stored(answer_stored(call, ipc::Json::object()));
  return Later{};
}

Reply alias_remove(Call& call) {
  const auto params = ipc::read_params<ipc::AliasRemoveParams>(call.params);
  if (!params) return params.error();
  AliasStore& store = call.server.context().stores.aliases;
  const auto removed = store.remove(params->name);
  if (!removed) return storage_error(removed.failure());
  if (!*removed) return ipc::make_error(ipc::Reason::kNotFound, "no such alias");
  store.when_stored(answer_stored(call, ipc::Json::object()));
  return Later{};
}

Reply alias_list(Call& call) {
  const auto params = ipc::read_params<ipc::PageParams>(call.params);
  if (!params) return params.error();
  const auto& aliases = call.server.context().stores.aliases.list();
  Page page(*params);
  for (auto it = aliases.upper_bound(page.after()); it != aliases.end(); ++it) {
    if (!page.add(ipc::write_members(ipc::Alias{it->first, it->second.hex()}), it->first)) break;
  }
  return answer(std::move(page).result("aliases"));
}

}  // namespace connd::daemon::api
