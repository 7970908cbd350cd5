// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/trust_store.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <initializer_list>
#include <utility>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace connd::daemon {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 3> kTrustNames{"unknown", "allowed", "banned"};
constexpr std::array<std::string_view, 3> kKindNames{"device", "account", "ca"};

std::size_t bytes_of(TrustKind kind) {
  return kind == TrustKind::kDevice ? proto::DeviceId::kBytes : proto::AccountId::kBytes;
}

// The text of a string member; empty when it is not one.
std::string_view text_of(const json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_string()) return {};
  return at->get_ref<const std::string&>();
}

template <class Id, class OtherId>
Id same_bytes(const OtherId& other) {
  static_assert(Id::kBytes == OtherId::kBytes);
  Id id;
  id.bytes = other.bytes;
  return id;
}

json to_json(const FirstMet& met) {
  json issuers = json::array();
  for (const proto::AccountId& issuer : met.issuers) issuers.push_back(issuer.hex());
  return {{"short", met.short_id.hex()}, {"issuers", std::move(issuers)}};
}

json to_json(const TrustScope& scope) {
  json uris = json::array();
  for (const ScopePattern& pattern : scope.patterns())
    uris.push_back({{"uri", pattern.uri}, {"prefix", pattern.prefix}});
  return uris;
}

std::optional<TrustScope> scope_from(const json& uris) {
  if (!uris.is_array() || uris.size() > TrustScope::kMaxPatterns) return std::nullopt;
  std::vector<ScopePattern> patterns;
  for (const json& one : uris) {
    const bool good = one.is_object() && one.size() == 2 && one.contains("uri") && one["uri"].is_string() &&
                      one.contains("prefix") && one["prefix"].is_boolean();
    if (!good) return std::nullopt;
    patterns.push_back({one["uri"].get<std::string>(), one["prefix"].get<bool>()});
  }
  auto scope = TrustScope::of(std::move(patterns));
  return scope ? std::optional(*std::move(scope)) : std::nullopt;
}

std::optional<FirstMet> first_met_from(const json& object) {
  if (!object.is_object()) return std::nullopt;
  const auto short_id = proto::AccountId::from_hex(text_of(object, "short"));
  const auto issuers = object.find("issuers");
  const bool list = issuers != object.end() && issuers->is_array();
  if (!short_id || !list || issuers->size() > proto::CertificateChain::kMaxCertificates) return std::nullopt;
  FirstMet met{*short_id, {}};
  for (const json& issuer : *issuers) {
    if (!issuer.is_string()) return std::nullopt;
    const auto id = proto::AccountId::from_hex(issuer.get_ref<const std::string&>());
    if (!id) return std::nullopt;
    met.issuers.push_back(*id);
  }
  return met;
}

/// The first member that is none of these; empty when there is none.
std::string stranger_among(const json& object, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return {};
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) return name;
  }
  return {};
}

}  // namespace

std::string_view name_of(Trust trust) {
  return kTrustNames[static_cast<std::size_t>(trust)];
}

std::string_view name_of(TrustKind kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

std::optional<TrustKind> trust_kind_from(std::string_view name) {
  const auto at = std::find(kKindNames.begin(), kKindNames.end(), name);
  if (at == kKindNames.end()) return std::nullopt;
  return static_cast<TrustKind>(at - kKindNames.begin());
}

TrustSubject::TrustSubject(const proto::DeviceId& device) : kind_(TrustKind::kDevice), bytes_(device.bytes) {}

TrustSubject::TrustSubject(TrustKind kind, const proto::AccountId& issuer) : kind_(kind) {
  assert(kind != TrustKind::kDevice);
  std::copy(issuer.bytes.begin(), issuer.bytes.end(), bytes_.begin());
}

Outcome<TrustSubject> TrustSubject::parse(TrustKind kind, std::string_view hex) {
  if (kind == TrustKind::kDevice) {
    if (const auto device = proto::DeviceId::from_hex(hex)) return TrustSubject(*device);
    return invalid("a device id is 64 hex digits");
  }
  if (const auto issuer = proto::AccountId::from_hex(hex)) return TrustSubject(kind, *issuer);
  return invalid("an account or CA id is 40 hex digits");
}

std::string TrustSubject::id() const {
  return proto::to_hex(proto::Bytes(bytes_).first(bytes_of(kind_)));
}

FirstMet FirstMet::of(const proto::CertificateChain& chain) {
  return {same_bytes<proto::AccountId>(chain.short_device_id()), chain.issuer_ids()};
}

bool FirstMet::has(std::string_view id) const {
  const auto account = proto::AccountId::from_hex(id);
  return account && (*account == short_id || std::find(issuers.begin(), issuers.end(), *account) != issuers.end());
}

TrustStore::TrustStore(std::string path) : file_{std::move(path), "entries", kMaxFileBytes, kMaxEntries} {}

Outcome<TrustStore> TrustStore::open(std::string path) {
  TrustStore store(std::move(path));
  const auto entries = store.file_.load();
  if (!entries) return entries.failure();
  for (const json& entry : *entries) {
    if (auto read = store.read(entry); !read) return read.failure();
  }
  return store;
}

Outcome<void> TrustStore::read(const json& entry) {
  const std::string where = "entry " + std::to_string(entries_.size() + 1);
  // Not understood, one of them might be a ban.
  if (!entry.is_object()) return file_.damaged(where + " is not {kind, id, state, since}");
  const bool met = entry.contains("met");
  const bool scoped = entry.contains("scope");
  const auto kind = trust_kind_from(text_of(entry, "kind"));
  if (!kind) return file_.damaged(where + ": unknown kind");
  const auto subject = TrustSubject::parse(*kind, text_of(entry, "id"));
  if (!subject) return file_.damaged(where + ": " + subject.failure().text);
  const std::string_view state = text_of(entry, "state");
  const bool banned = state == name_of(Trust::kBanned);
  if (!banned && state != name_of(Trust::kAllowed)) return file_.damaged(where + ": unknown state");
  const auto since = entry.find("since");
  if (since == entry.end() || !since->is_number_integer()) return file_.damaged(where + ": no time");
  State out{banned ? Trust::kBanned : Trust::kAllowed, since->get<std::int64_t>()};
  if (met) out.first_met = first_met_from(entry["met"]);
  if (met && (!out.first_met || kind != TrustKind::kDevice)) return file_.damaged(where + ": what was met is unclear");
  if (scoped) {
    auto scope = scope_from(entry["scope"]);
    if (!scope || banned) return file_.damaged(where + ": its scope is unclear");
    out.scope = *std::move(scope);
  }
  std::string newer = stranger_among(entry, {"kind", "id", "state", "since", "met", "scope"});
  if (newer.empty() && met) newer = stranger_among(entry["met"], {"short", "issuers"});
  if (!newer.empty()) {
    // What it says may be for whom, or until when.
    if (!banned) out.trust = Trust::kUnknown;
    out.kept = entry.dump();
    spdlog::warn("{}: {} has '{}', which a newer jami-connd wrote: it is kept as it is{}", file_.path, where, newer,
                 banned ? "" : ", and lets nobody in");
  }
  if (entries_.contains(*subject)) return file_.damaged(where + ": a second entry of " + subject->id());
  put_back(*subject, std::move(out));
  return {};
}

Outcome<void> TrustStore::set(const TrustSubject& subject, Trust trust, std::int64_t now_unix, TrustScope scope) {
  const auto at = entries_.find(subject);
  if (at == entries_.end()) return replace(subject, State{trust, now_unix, std::move(scope)});
  if (at->second.trust == trust && at->second.scope == scope) return {};
  return replace(subject, State{trust, now_unix, std::move(scope), at->second.first_met});
}

Outcome<void> TrustStore::remember(const proto::CertificateChain& chain) {
  const TrustSubject subject(chain.device_id());
  const auto at = entries_.find(subject);
  if (at == entries_.end() || at->second.first_met || !at->second.kept.empty()) return {};
  State state = at->second;
  state.first_met = FirstMet::of(chain);
  return replace(subject, std::move(state));
}

const FirstMet* TrustStore::first_met(const proto::DeviceId& device) const {
  const auto at = entries_.find(TrustSubject(device));
  return at != entries_.end() && at->second.first_met ? &*at->second.first_met : nullptr;
}

Outcome<bool> TrustStore::unset(const TrustSubject& subject) {
  if (!entries_.contains(subject)) return false;
  if (auto replaced = replace(subject, std::nullopt); !replaced) return replaced.failure();
  return true;
}

Outcome<void> TrustStore::replace(const TrustSubject& subject, std::optional<State> state) {
  const auto at = entries_.find(subject);
  std::optional<State> before = at != entries_.end() ? std::optional(at->second) : std::nullopt;
  if (unsaved_.full()) return too_many_unsaved();
  if (state && !before && entries_.size() >= kMaxEntries) return file_.too_many();
  put_back(subject, std::move(state));
  return unsaved_.changed(*this, subject, std::move(before));
}

/// A copy of what there is now; text is made of it, and sorted, on the pool.
StateDisk::Work TrustStore::writing() const {
  return [file = file_, entries = std::vector<std::pair<TrustSubject, State>>(
                            entries_.begin(), entries_.end())]() mutable -> Outcome<void> {
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    json list = json::array();
    for (const auto& [subject, state] : entries) list.push_back(to_json(subject, state));
    return file.save(std::move(list));
  };
}

json TrustStore::to_json(const TrustSubject& subject, const State& state) {
  if (!state.kept.empty()) return json::parse(state.kept);
  json written{{"kind", name_of(subject.kind())},
               {"id", subject.id()},
               {"state", name_of(state.trust)},
               {"since", state.since_unix}};
  if (!state.scope.is_everything()) written["scope"] = connd::daemon::to_json(state.scope);
  if (state.first_met) written["met"] = connd::daemon::to_json(*state.first_met);
  return written;
}

void TrustStore::use(StateDisk& disk, std::function<void()> taken_back) {
  unsaved_.use(&disk);
  taken_back_ = std::move(taken_back);
}

void TrustStore::taken_back(const Failure& why) {
  spdlog::error("trust: what was changed is taken back, for it could not be stored: {}", why.text);
  if (taken_back_) taken_back_();
}

void TrustStore::put_back(const TrustSubject& subject, std::optional<State> state) {
  const std::size_t chain_weight = subject.kind() == TrustKind::kDevice ? 0 : 1;
  if (entries_.erase(subject) > 0) chain_entries_ -= chain_weight;
  if (!state) return;
  entries_.emplace(subject, *std::move(state));
  chain_entries_ += chain_weight;
}

Trust TrustStore::state_of(const TrustSubject& subject) const {
  const auto at = entries_.find(subject);
  return at != entries_.end() ? at->second.trust : Trust::kUnknown;
}

bool TrustStore::bans(const proto::AccountId& id) const {
  if (chain_entries_ == 0) return false;
  return state_of({TrustKind::kAccount, id}) == Trust::kBanned || state_of({TrustKind::kCa, id}) == Trust::kBanned;
}

std::optional<proto::AccountId> TrustStore::ban_of(const FirstMet& met) const {
  if (bans(met.short_id)) return met.short_id;
  const auto at =
      std::find_if(met.issuers.begin(), met.issuers.end(), [this](const auto& issuer) { return bans(issuer); });
  return at != met.issuers.end() ? std::optional(*at) : std::nullopt;
}

Trust TrustStore::of(const proto::DeviceId& device, std::span<const proto::AccountId> issuers,
                     const std::optional<proto::ShortDeviceId>& short_id) const {
  const auto own = entries_.find(TrustSubject(device));
  if (short_id && bans(same_bytes<proto::AccountId>(*short_id))) return Trust::kBanned;
  bool allowed = false;
  if (own != entries_.end()) {
    const State& state = own->second;
    if (state.trust == Trust::kBanned || (state.first_met && ban_of(*state.first_met))) return Trust::kBanned;
    allowed = state.trust == Trust::kAllowed;
  }
  for (std::size_t i = 0; i < issuers.size(); ++i) {
    if (bans(issuers[i])) return Trust::kBanned;
    // An allowed account means its own devices; only an allowed CA means everything below it.
    allowed = allowed || state_of({TrustKind::kCa, issuers[i]}) == Trust::kAllowed ||
              (i == 0 && state_of({TrustKind::kAccount, issuers[i]}) == Trust::kAllowed);
  }
  return allowed ? Trust::kAllowed : Trust::kUnknown;
}

Trust TrustStore::of(const proto::CertificateChain& chain) const {
  return of(chain.device_id(), chain.issuer_ids(), chain.short_device_id());
}

const TrustStore::State* TrustStore::allowed(const TrustSubject& subject) const {
  const auto at = entries_.find(subject);
  return at != entries_.end() && at->second.trust == Trust::kAllowed ? &at->second : nullptr;
}

TrustScope TrustStore::scope_of(const proto::CertificateChain& chain) const {
  if (const State* own = allowed(TrustSubject(chain.device_id()))) return own->scope;
  const auto issuers = chain.issuer_ids();
  if (const State* account = allowed({TrustKind::kAccount, issuers.front()})) return account->scope;
  for (const proto::AccountId& issuer : issuers) {
    if (const State* ca = allowed({TrustKind::kCa, issuer})) return ca->scope;
  }
  return {};
}

std::vector<TrustEntry> TrustStore::list(const std::optional<TrustSubject>& after, std::size_t most) const {
  std::vector<TrustEntry> out;
  out.reserve(std::min(entries_.size(), most));
  for (auto at = after ? entries_.upper_bound(*after) : entries_.begin(); at != entries_.end() && out.size() < most;
       ++at) {
    const auto& [subject, state] = *at;
    TrustEntry& entry =
        out.emplace_back(TrustEntry{subject, state.trust, state.since_unix, state.scope, state.first_met});
    if (state.trust != Trust::kBanned && state.first_met) entry.banned_by = ban_of(*state.first_met);
  }
  return out;
}

}  // namespace connd::daemon
