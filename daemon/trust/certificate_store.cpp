// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/certificate_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>
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

std::int64_t unix_now() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

std::int64_t unix_time(std::filesystem::file_time_type time) {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::file_clock::to_sys(time).time_since_epoch())
      .count();
}

}  // namespace

Outcome<CertificateStore> CertificateStore::open(std::string directory, std::size_t max_chains, std::size_t max_bytes) {
  CertificateStore store(std::move(directory), max_chains, max_bytes);
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
  for (const Found& entry : found) load(entry.device, entry.short_id, unix_time(entry.used));
  forget_oldest();
  return {};
}

/// Whether it is a chain of the device is looked at when somebody wants it.
void CertificateStore::load(const proto::DeviceId& device, const proto::ShortDeviceId& short_id,
                            std::int64_t used_unix) {
  auto bytes = read_bounded(path_of(device, short_id), proto::CertificateChain::kMaxDerBytes);
  if (bytes && !*bytes) return;
  Entry& entry = touch(device, short_id);
  entry.used_unix = used_unix;
  if (!bytes) {
    entry.unreadable = bytes.failure();
  } else {
    set_bytes(entry, std::make_shared<const proto::ByteVector>(**std::move(bytes)));
  }
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

CertificateStore::Entry& CertificateStore::touch(const proto::DeviceId& device, const proto::ShortDeviceId& short_id) {
  const auto known = index_.find(device);
  if (known != index_.end()) {
    by_use_.splice(by_use_.end(), by_use_, known->second.use);
    return known->second;
  }
  by_use_.push_back(device);
  by_short_id_.insert_or_assign(short_id, device);
  return index_.emplace(device, Entry{std::prev(by_use_.end()), short_id, nullptr}).first->second;
}

void CertificateStore::set_bytes(Entry& entry, Bytes der) {
  if (entry.der) bytes_ -= entry.der->size();
  if (der) bytes_ += der->size();
  entry.der = std::move(der);
}

void CertificateStore::forget(const proto::DeviceId& device) {
  const auto known = index_.find(device);
  if (known == index_.end()) return;
  note(device, known->second, Kind::kRemove);
  set_bytes(known->second, nullptr);
  by_short_id_.erase(known->second.short_id);
  const auto use = known->second.use;
  index_.erase(known);
  by_use_.erase(use);  // `device` may be in that very node: not used below
}

void CertificateStore::forget_oldest() {
  while (index_.size() > max_chains_ || bytes_ > max_bytes_) forget(by_use_.front());
}

Outcome<std::optional<proto::CertificateChain>> CertificateStore::find(const proto::DeviceId& device) {
  const auto known = index_.find(device);
  if (known == index_.end()) return std::optional<proto::CertificateChain>{};
  Entry& entry = known->second;
  if (entry.unreadable) {
    const Failure why = *entry.unreadable;
    forget(device);
    return why;
  }
  auto chain = proto::CertificateChain::from_der(*entry.der);
  if (!chain || chain->device_id() != device) {
    const std::string path = path_of(device, entry.short_id);
    forget(device);
    const std::string why = chain ? "a chain of another device" : chain.error().message();
    return failure(std::errc::illegal_byte_sequence, path + ": " + why + "; it was removed");
  }
  by_use_.splice(by_use_.end(), by_use_, entry.use);
  if (std::abs(unix_now() - entry.used_unix) >= kUseSeconds) {
    entry.used_unix = unix_now();
    note(device, entry, Kind::kTouch);
  }
  return std::optional(*std::move(chain));
}

Outcome<void> CertificateStore::put(const proto::CertificateChain& chain) {
  const proto::DeviceId device = chain.device_id();
  const proto::ShortDeviceId short_id = chain.short_device_id();
  auto der = std::make_shared<const proto::ByteVector>(chain.der());
  if (disk_ == nullptr) {
    auto written = write_atomically(path_of(device, short_id), *der, 0600, Durability::kCached);
    if (!written) return written;
  }
  Entry& entry = touch(device, short_id);
  set_bytes(entry, std::move(der));
  entry.unreadable.reset();
  entry.used_unix = unix_now();
  if (disk_ != nullptr) note(device, entry, Kind::kWrite);
  forget_oldest();
  return {};
}

// ---- the disk ----

void CertificateStore::note(const proto::DeviceId& device, const Entry& entry, Kind kind) {
  Step step{device, kind, path_of(device, entry.short_id), kind == Kind::kWrite ? entry.der : nullptr};
  if (disk_ == nullptr) {
    Writing now{{std::move(step)}};
    (void)write(now);
    return;
  }
  const auto known = unsaved_.find(device);
  if (known != unsaved_.end()) {
    if (kind != Kind::kTouch) known->second = std::move(step);
  } else if (kind == Kind::kWrite || unsaved_.size() < 2 * max_chains_) {
    unsaved_.emplace(device, std::move(step));
  }  // else: a file that stays is the oldest at the next start
  start();
}

void CertificateStore::start() {
  if (writing_ || unsaved_.empty()) return;
  writing_ = std::make_shared<Writing>();
  for (auto& [device, step] : std::exchange(unsaved_, {})) writing_->steps.push_back(std::move(step));
  writing_->waiting = std::exchange(waiting_, {});
  disk_->run([writing = writing_] { return write(*writing); },
             [this, writing = writing_](const Outcome<void>& outcome) { written(*writing, outcome); });
}

/// Stops at the first one that cannot be written. What is not removed, or has another time, only makes the next start's
/// order worse.
Outcome<void> CertificateStore::write(Writing& writing) {
  for (const Step& step : writing.steps) {
    if (step.kind == Kind::kWrite) {
      if (auto written = write_atomically(step.path, *step.der, 0600, Durability::kCached); !written) return written;
    } else if (step.kind == Kind::kRemove) {
      ::unlink(step.path.c_str());
    } else {
      (void)::utimensat(AT_FDCWD, step.path.c_str(), nullptr, 0);
    }
    ++writing.done;
  }
  return {};
}

/// What was not done goes with the next change, unless that is about the same device: not now, for it would fail again.
void CertificateStore::written(const Writing& writing, const Outcome<void>& outcome) {
  writing_.reset();
  for (std::size_t i = writing.done; i < writing.steps.size(); ++i) {
    Step& now = unsaved_.emplace(writing.steps[i].device, writing.steps[i]).first->second;
    if (now.kind == Kind::kTouch) now = writing.steps[i];
  }
  if (outcome) {
    start();
  } else {
    spdlog::warn("certificates of peers are not stored: {}", outcome.failure().text);
    for (auto& done : std::exchange(waiting_, {})) done(outcome);
  }
  for (const auto& done : writing.waiting) done(outcome);
}

void CertificateStore::when_stored(StateDisk::Done done) {
  if (!unsaved_.empty() && writing_) {
    waiting_.push_back(std::move(done));
  } else if (writing_) {
    writing_->waiting.push_back(std::move(done));
  } else {
    done({});
  }
}

}  // namespace connd::daemon
