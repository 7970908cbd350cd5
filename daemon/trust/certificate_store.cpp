// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/certificate_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include <sys/stat.h>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

constexpr std::string_view kSuffix = ".tls";
constexpr std::string_view kFormerSuffix = ".der";

struct Found {
  std::filesystem::file_time_type used;
  proto::DeviceId device;
  proto::ShortDeviceId short_id;
};

/// The id that is all of `name`, in the one way in which we write it.
template <class Id>
std::optional<Id> id_in(std::string_view name) {
  const auto id = Id::from_hex(name);
  if (!id || id->hex() != name) return std::nullopt;
  return *id;
}

/// `name` without the suffix; nothing when it has another.
std::optional<std::string_view> stem_of(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  return name.substr(0, name.size() - suffix.size());
}

}  // namespace

Outcome<CertificateStore> CertificateStore::open(std::string directory, std::size_t max_chains) {
  CertificateStore store(std::move(directory), max_chains);
  if (::mkdir(store.directory_.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_failure(errno, store.directory_, "the directory cannot be made");
  }
  remove_leftovers(store.directory_);
  if (auto loaded = store.load_index(); !loaded) return loaded.failure();
  return store;
}

Outcome<void> CertificateStore::load_index() {
  std::vector<Found> found;
  // Their names change, which a directory that is being read may show or not.
  std::vector<std::pair<std::string, proto::DeviceId>> former;
  std::error_code error;
  std::filesystem::directory_iterator at(directory_, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code gone;
    if (const auto der = stem_of(name, kFormerSuffix); der && id_in<proto::DeviceId>(*der)) {
      std::filesystem::remove(at->path(), gone);
      continue;
    }
    const auto stem = stem_of(name, kSuffix);
    if (!stem) continue;
    const auto device = id_in<proto::DeviceId>(stem->substr(0, stem->find('.')));
    if (!device) continue;
    if (stem->size() == 2 * proto::DeviceId::kBytes) {
      former.emplace_back(at->path().string(), *device);
      continue;
    }
    const auto short_id = id_in<proto::ShortDeviceId>(stem->substr(stem->find('.') + 1));
    const auto used = std::filesystem::last_write_time(at->path(), gone);
    if (short_id && !gone) found.push_back({used, *device, *short_id});
  }
  if (error) return system_failure(error.value(), directory_, "the directory cannot be read");
  for (const auto& [path, device] : former) {
    std::error_code gone;
    const auto used = std::filesystem::last_write_time(path, gone);
    const auto short_id = rename_former(path, device);
    if (short_id && !gone) found.push_back({used, device, *short_id});
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.used < b.used; });
  for (const Found& entry : found) touch(entry.device, entry.short_id);
  while (index_.size() > max_chains_) forget(by_use_.front());
  return {};
}

/// What is no chain of the device goes.
std::optional<proto::ShortDeviceId> CertificateStore::rename_former(const std::string& path,
                                                                    const proto::DeviceId& device) const {
  const auto bytes = read_bounded(path, proto::CertificateChain::kMaxDerBytes);
  if (!bytes || !*bytes) return std::nullopt;
  const auto chain = proto::CertificateChain::from_der(**bytes);
  if (!chain || chain->device_id() != device) {
    ::unlink(path.c_str());
    return std::nullopt;
  }
  const proto::ShortDeviceId short_id = chain->short_device_id();
  if (::rename(path.c_str(), path_of(device, short_id).c_str()) != 0) return std::nullopt;
  return short_id;
}

std::string CertificateStore::path_of(const proto::DeviceId& device, const proto::ShortDeviceId& short_id) const {
  return directory_ + "/" + device.hex() + "." + short_id.hex() + std::string(kSuffix);
}

std::optional<proto::DeviceId> CertificateStore::device_of(const proto::ShortDeviceId& short_id) const {
  const auto known = by_short_id_.find(short_id);
  if (known == by_short_id_.end()) return std::nullopt;
  return known->second;
}

void CertificateStore::touch(const proto::DeviceId& device, const proto::ShortDeviceId& short_id) {
  const auto known = index_.find(device);
  if (known != index_.end()) {
    by_use_.splice(by_use_.end(), by_use_, known->second.use);
  } else {
    by_use_.push_back(device);
    index_.emplace(device, Entry{std::prev(by_use_.end()), short_id});
    by_short_id_.insert_or_assign(short_id, device);
  }
}

void CertificateStore::forget(const proto::DeviceId& device) {
  const auto known = index_.find(device);
  if (known == index_.end()) return;
  const Entry entry = known->second;
  ::unlink(path_of(device, entry.short_id).c_str());  // a file that stays is read, and checked, at the next start
  by_short_id_.erase(entry.short_id);
  index_.erase(known);
  by_use_.erase(entry.use);  // `device` may be in that very node: not used below
}

Outcome<std::optional<proto::CertificateChain>> CertificateStore::find(const proto::DeviceId& device) {
  const auto known = index_.find(device);
  if (known == index_.end()) return std::optional<proto::CertificateChain>{};
  const std::string path = path_of(device, known->second.short_id);
  const auto bytes = read_bounded(path, proto::CertificateChain::kMaxDerBytes);
  if (!bytes || !*bytes) {
    forget(device);
    if (!bytes) return bytes.failure();
    return std::optional<proto::CertificateChain>{};
  }
  auto chain = proto::CertificateChain::from_der(**bytes);
  if (!chain || chain->device_id() != device) {
    forget(device);
    const std::string why = chain ? "a chain of another device" : chain.error().message();
    return failure(std::errc::illegal_byte_sequence, path + ": " + why + "; it was removed");
  }
  by_use_.splice(by_use_.end(), by_use_, known->second.use);
  // The order of use survives a restart as the files' times; one that cannot be set only makes the order worse.
  (void)::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  return std::optional(*std::move(chain));
}

Outcome<void> CertificateStore::put(const proto::CertificateChain& chain) {
  const proto::DeviceId device = chain.device_id();
  const proto::ShortDeviceId short_id = chain.short_device_id();
  if (auto written = write_atomically(path_of(device, short_id), chain.der(), 0600, Durability::kCached); !written) {
    return written;
  }
  touch(device, short_id);
  while (index_.size() > max_chains_) forget(by_use_.front());
  return {};
}

}  // namespace connd::daemon
