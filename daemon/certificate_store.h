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

#include "daemon/outcome.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// Movable; used on one thread, the loop's. Each call costs at most one small file.
class CertificateStore {
 public:
  /// At about 6 KiB each, 24 MiB of disk. The least recently used goes first.
  static constexpr std::size_t kMaxChains = 4096;

  /// Uses `directory`, made where missing; files in it are named DEVICE-ID.tls, others are left alone, but for
  /// DEVICE-ID.der: there the first versions kept also what they had found on the DHT, and those are removed. When
  /// there are more than `max_chains`, the oldest go. Failures: the directory cannot be made or read.
  static Outcome<CertificateStore> open(std::string directory, std::size_t max_chains = kMaxChains);

  /// The chain of a device, whose leaf has the key of that id; nothing when there is none. It was verified when it was
  /// stored, and may be valid no more (KnownChains). Failure: there was a file but it is not a chain of that device, or
  /// cannot be read; it is forgotten, and the device may be looked up as if it had not been there.
  Outcome<std::optional<proto::CertificateChain>> find(const proto::DeviceId& device);

  /// Stores a chain that TLS has verified, in place of an older one of the same device. Failures: those of
  /// write_atomically; the older one stays then.
  Outcome<void> put(const proto::CertificateChain& chain);

  [[nodiscard]] bool contains(const proto::DeviceId& device) const { return index_.contains(device); }
  [[nodiscard]] std::size_t size() const { return index_.size(); }

 private:
  CertificateStore(std::string directory, std::size_t max_chains)
      : directory_(std::move(directory)), max_chains_(max_chains) {}
  [[nodiscard]] std::string path_of(const proto::DeviceId& device) const;
  Outcome<void> load_index();
  void touch(const proto::DeviceId& device);
  void forget(const proto::DeviceId& device);

  std::string directory_;
  std::size_t max_chains_;
  std::list<proto::DeviceId> by_use_;  // least recently used first
  std::unordered_map<proto::DeviceId, std::list<proto::DeviceId>::iterator> index_;
};

}  // namespace connd::daemon
