// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/alias_store.h"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

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
    if (store.aliases_.contains(name)) return store.file_.damaged(where + ": a second " + name);
    store.put_back(name, *device);
  }
  return store;
}

Outcome<void> AliasStore::set(const std::string& name, const proto::DeviceId& device) {
  if (!valid_name(name)) {
    return invalid("an alias is a letter or '_', then letters, digits and any of ._-@, at most 128, and not an id");
  }
  if (find(name) == device) return {};
  return replace(name, device);
}

Outcome<bool> AliasStore::remove(const std::string& name) {
  if (!find(name)) return false;
  if (auto replaced = replace(name, std::nullopt); !replaced) return replaced.failure();
  return true;
}

Outcome<void> AliasStore::replace(const std::string& name, const std::optional<proto::DeviceId>& device) {
  const auto before = find(name);
  if (unsaved_.full()) return too_many_unsaved();
  if (device && !before && aliases_.size() >= kMaxEntries) return file_.too_many();
  put_back(name, device);
  return unsaved_.changed(*this, name, before);
}

void AliasStore::put_back(const std::string& name, const std::optional<proto::DeviceId>& device) {
  if (const auto before = aliases_.find(name); before != aliases_.end()) {
    names_.erase({before->second, name});
    aliases_.erase(before);
  }
  if (!device) return;
  aliases_.emplace(name, *device);
  names_.emplace(*device, name);
}

StateDisk::Work AliasStore::writing() const {
  return [file = file_, aliases = aliases_] {
    json entries = json::array();
    for (const auto& [name, device] : aliases) entries.push_back({{"name", name}, {"device", device.hex()}});
    return file.save(std::move(entries));
  };
}

void AliasStore::taken_back(const Failure& why) {
  spdlog::error("aliases: what was changed is taken back, for it could not be stored: {}", why.text);
}

std::optional<proto::DeviceId> AliasStore::find(std::string_view name) const {
  const auto at = aliases_.find(name);
  if (at == aliases_.end()) return std::nullopt;
  return at->second;
}

const std::string* AliasStore::name_of(const proto::DeviceId& device) const {
  const auto at = names_.lower_bound({device, {}});
  return at != names_.end() && at->first == device ? &at->second : nullptr;
}

std::optional<proto::DeviceId> AliasStore::resolve(std::string_view peer) const {
  if (const auto device = proto::DeviceId::from_hex(peer)) return *device;
  return find(peer);
}

}  // namespace connd::daemon
