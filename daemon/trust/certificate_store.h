// SPDX-License-Identifier: GPL-3.0-or-later
/// CertificateStore: certificate chains of peers that we have met: those that they have shown in TLS. What anybody has
/// put on the DHT is not kept.
///
/// A cache: what is lost is looked up again, so writes are atomic but not forced to disk, and what is read is checked.
/// Chains stay on disk: parsed, the bound below would be over 100 MB of memory.
#pragma once

#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/system/outcome.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// Movable; used on one thread, the loop's. Each call costs at most one small file.
class CertificateStore {
 public:
  /// At about 6 KiB each, 24 MiB of disk. The least recently used goes first.
  static constexpr std::size_t kMaxChains = 4096;

  /// Uses `directory`, made where missing; files in it are named DEVICE-ID.SHORT-ID.tls, others are left alone, but for
  /// what former versions named otherwise: DEVICE-ID.tls gets its name of today, which costs a reading, once; and
  /// DEVICE-ID.der, where also what was found on the DHT was kept, is removed. When there are more than `max_chains`,
  /// the oldest go. Failures: the directory cannot be made or read.
  static Outcome<CertificateStore> open(std::string directory, std::size_t max_chains = kMaxChains);

  /// The chain of a device, whose leaf has the key of that id; nothing when there is none. It was verified when it was
  /// stored, and may be valid no more (KnownChains). Failure: there was a file but it is not a chain of that device, or
  /// cannot be read; it is forgotten, and the device may be looked up as if it had not been there.
  Outcome<std::optional<proto::CertificateChain>> find(const proto::DeviceId& device);

  /// Stores a chain that TLS has verified, in place of an older one of the same device. Failures: those of
  /// write_atomically; the older one stays then.
  Outcome<void> put(const proto::CertificateChain& chain);

  [[nodiscard]] bool contains(const proto::DeviceId& device) const { return index_.contains(device); }
  /// The device whose chain is here, by the short id of its key. No file is touched.
  [[nodiscard]] std::optional<proto::DeviceId> device_of(const proto::ShortDeviceId& short_id) const;
  [[nodiscard]] std::size_t size() const { return index_.size(); }
  /// All, the least recently used first.
  [[nodiscard]] std::vector<proto::DeviceId> devices() const { return {by_use_.begin(), by_use_.end()}; }

 private:
  CertificateStore(std::string directory, std::size_t max_chains)
      : directory_(std::move(directory)), max_chains_(max_chains) {}
  struct Entry {
    std::list<proto::DeviceId>::iterator use;
    proto::ShortDeviceId short_id;
  };

  [[nodiscard]] std::string path_of(const proto::DeviceId& device, const proto::ShortDeviceId& short_id) const;
  Outcome<void> load_index();
  std::optional<proto::ShortDeviceId> rename_former(const std::string& path, const proto::DeviceId& device) const;
  void touch(const proto::DeviceId& device, const proto::ShortDeviceId& short_id);
  void forget(const proto::DeviceId& device);

  std::string directory_;
  std::size_t max_chains_;
  std::list<proto::DeviceId> by_use_;  // least recently used first
  std::unordered_map<proto::DeviceId, Entry> index_;
  std::unordered_map<proto::ShortDeviceId, proto::DeviceId> by_short_id_;
};

}  // namespace connd::daemon
