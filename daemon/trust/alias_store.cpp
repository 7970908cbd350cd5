// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/alias_store.h"

#include <nlohmann/json.hpp>

#include "ipc/api_admin.h"

namespace connd::daemon {
namespace {

using nlohmann::json;

}  // namespace

bool AliasStore::valid_name(std::string_view name) {
  return ipc::check_alias(name).ok();
}

AliasStore::AliasStore(std::string path) : file_{std::move(path), "aliases", kMaxFileBytes, kMaxEntries} {}

Outcome<AliasStore> AliasStore::open(std::string path) {
  AliasStore store(std::move(path));
  const auto entries = store.file_.load();
  if (!entries) return entries.failure();
  for (const json& entry : *entries) {
    const std::string where = "entry " + std::to_string(store.aliases_.size() + 1);
    const bool shaped = entry.is_object() && entry.size() == 2 && entry.contains("name") && entry.contains("device") &&
                        entry["name"].is_string() && entry["device"].is_string();
    if (!shaped) return store.file_.damaged(where + " is not {name, device}");
    const std::string& name = entry["name"].get_ref<const std::string&>();
    const auto device = proto::DeviceId::from_hex(entry["device"].get_ref<const std::string&>());
    if (!valid_name(name) || !device) return store.file_.damaged(where + ": a bad name or device id");
    if (!store.aliases_.emplace(name, *device).second) return store.file_.damaged(where + ": a second " + name);
  }
  return store;
}

Outcome<void> AliasStore::set(const std::string& name, const proto::DeviceId& device) {
  if (!valid_name(name)) {
    return failure(std::errc::invalid_argument,
                   "an alias is a letter or '_', then letters, digits and any of ._-@, at most 128, and not an id");
  }
  const auto before = find(name);
  if (before == device) return {};
  aliases_[name] = device;
  auto saved = save();
  if (!saved) {
    if (before) {
      aliases_[name] = *before;
    } else {
      aliases_.erase(name);
    }
  }
  return saved;
}

Outcome<bool> AliasStore::remove(const std::string& name) {
  auto taken = aliases_.extract(name);
  if (taken.empty()) return false;
  if (auto saved = save(); !saved) {
    aliases_.insert(std::move(taken));
    return saved.failure();
  }
  return true;
}

Outcome<void> AliasStore::save() const {
  json entries = json::array();
  for (const auto& [name, device] : aliases_) entries.push_back({{"name", name}, {"device", device.hex()}});
  return file_.save(std::move(entries));
}

std::optional<proto::DeviceId> AliasStore::find(std::string_view name) const {
  const auto at = aliases_.find(name);
  if (at == aliases_.end()) return std::nullopt;
  return at->second;
}

std::optional<proto::DeviceId> AliasStore::resolve(std::string_view peer) const {
  if (const auto device = proto::DeviceId::from_hex(peer)) return *device;
  return find(peer);
}

}  // namespace connd::daemon
