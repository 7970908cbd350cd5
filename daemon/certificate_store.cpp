// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/certificate_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include <sys/stat.h>

#include "daemon/atomic_file.h"

namespace connd::daemon {
namespace {

constexpr std::string_view kSuffix = ".tls";
constexpr std::string_view kFormerSuffix = ".der";

struct Found {
  std::filesystem::file_time_type used;
  proto::DeviceId device;
};

std::optional<proto::DeviceId> device_of(const std::string& file_name, std::string_view suffix) {
  if (!file_name.ends_with(suffix)) return std::nullopt;
  const auto device = proto::DeviceId::from_hex(file_name.substr(0, file_name.size() - suffix.size()));
  if (!device || device->hex() + std::string(suffix) != file_name) return std::nullopt;
  return *device;
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
  std::error_code error;
  std::filesystem::directory_iterator at(directory_, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code gone;
    if (device_of(name, kFormerSuffix)) {
      std::filesystem::remove(at->path(), gone);
      continue;
    }
    const auto device = device_of(name, kSuffix);
    const auto used = std::filesystem::last_write_time(at->path(), gone);
    if (device && !gone) found.push_back({used, *device});
  }
  if (error) return system_failure(error.value(), directory_, "the directory cannot be read");
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.used < b.used; });
  for (const Found& entry : found) touch(entry.device);
  while (index_.size() > max_chains_) forget(by_use_.front());
  return {};
}

std::string CertificateStore::path_of(const proto::DeviceId& device) const {
  return directory_ + "/" + device.hex() + std::string(kSuffix);
}

void CertificateStore::touch(const proto::DeviceId& device) {
  const auto known = index_.find(device);
  if (known != index_.end()) {
    by_use_.splice(by_use_.end(), by_use_, known->second);
  } else {
    by_use_.push_back(device);
    index_.emplace(device, std::prev(by_use_.end()));
  }
}

void CertificateStore::forget(const proto::DeviceId& device) {
  const auto known = index_.find(device);
  if (known == index_.end()) return;
  ::unlink(path_of(device).c_str());  // a file that stays is read, and checked, at the next start
  by_use_.erase(known->second);       // `device` may be in that very node: not used below
  index_.erase(known);
}

Outcome<std::optional<proto::CertificateChain>> CertificateStore::find(const proto::DeviceId& device) {
  if (!contains(device)) return std::optional<proto::CertificateChain>{};
  const std::string path = path_of(device);
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
  touch(device);
  // The order of use survives a restart as the files' times; one that cannot be set only makes the order worse.
  (void)::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  return std::optional(*std::move(chain));
}

Outcome<void> CertificateStore::put(const proto::CertificateChain& chain) {
  const proto::DeviceId device = chain.device_id();
  if (auto written = write_atomically(path_of(device), chain.der(), 0600, Durability::kCached); !written) {
    return written;
  }
  touch(device);
  while (index_.size() > max_chains_) forget(by_use_.front());
  return {};
}

}  // namespace connd::daemon
