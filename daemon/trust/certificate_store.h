// SPDX-License-Identifier: GPL-3.0-or-later
/// CertificateStore: certificate chains of peers that we have met: those that they have shown in TLS. What anybody has
/// put on the DHT is not kept.
///
/// A cache: what is lost is looked up again, so writes are atomic but not forced to disk, and what is read is checked.
/// Who is asked answers from memory, where the bytes are: parsed they would take five times as much.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/system/outcome.h"
#include "daemon/trust/state_disk.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// Movable until it has a disk; used on one thread, the loop's.
class CertificateStore {
 public:
  /// The least recently used goes first.
  static constexpr std::size_t kMaxChains = 4096;
  /// Of memory, and of disk: as many chains of 6 KiB, which has three keys of 4,096 bits.
  static constexpr std::size_t kMaxBytes = std::size_t{24} * 1024 * 1024;
  /// The order of use survives a restart as the files' times; so exact is enough, and the disk sleeps meanwhile.
  static constexpr std::int64_t kUseSeconds = 3'600;

  /// Uses `directory`, made where missing; files in it are named DEVICE-ID.SHORT-ID.tls, others are left alone, but for
  /// what former versions named otherwise: DEVICE-ID.tls gets its name of today, which costs a reading, once; and
  /// DEVICE-ID.der, where also what was found on the DHT was kept, is removed. When there are more than `max_chains`,
  /// or `max_bytes` in all, the oldest go. All are read, and parsed when they are asked for. Failures: the directory
  /// cannot be made or read.
  static Outcome<CertificateStore> open(std::string directory, std::size_t max_chains = kMaxChains,
                                        std::size_t max_bytes = kMaxBytes);

  /// Who is to write from now on; without one each change waits for the disk. It and this stay where they are.
  void use(StateDisk& disk) { disk_ = &disk; }

  /// The chain of a device, whose leaf has the key of that id; nothing when there is none. It was verified when it was
  /// stored, and may be valid no more (KnownChains). Failure: there was a file but it is not a chain of that device, or
  /// could not be read; it is forgotten, and the device may be looked up as if it had not been there.
  Outcome<std::optional<proto::CertificateChain>> find(const proto::DeviceId& device);

  /// Stores a chain that TLS has verified, in place of an older one of the same device. What the disk could not take is
  /// here until the end, and is written with what comes next. Failures, without a StateDisk: those of write_atomically;
  /// the older one stays then.
  Outcome<void> put(const proto::CertificateChain& chain);
  /// Calls `done` once all that was put so far is on the disk (not forced there), maybe at once; or was not taken.
  void when_stored(StateDisk::Done done);

  [[nodiscard]] bool contains(const proto::DeviceId& device) const { return index_.contains(device); }
  /// The device whose chain is here, by the short id of its key. No file is touched.
  [[nodiscard]] std::optional<proto::DeviceId> device_of(const proto::ShortDeviceId& short_id) const;
  [[nodiscard]] std::size_t size() const { return index_.size(); }
  /// All, the least recently used first.
  [[nodiscard]] std::vector<proto::DeviceId> devices() const { return {by_use_.begin(), by_use_.end()}; }

 private:
  CertificateStore(std::string directory, std::size_t max_chains, std::size_t max_bytes)
      : directory_(std::move(directory)), max_chains_(max_chains), max_bytes_(max_bytes) {}
  using Bytes = std::shared_ptr<const proto::ByteVector>;  ///< second owner: a writing of it
  struct Entry {
    std::list<proto::DeviceId>::iterator use;
    proto::ShortDeviceId short_id;
    Bytes der;
    std::int64_t used_unix = 0;  ///< as the file's time says
    std::optional<Failure> unreadable{};
  };
  /// What the disk is to do for a device: the last thing that was wanted, but that a new time is the least.
  enum class Kind : std::uint8_t { kRemove, kWrite, kTouch };
  struct Step {
    proto::DeviceId device;
    Kind kind;
    std::string path;
    Bytes der;
  };
  struct Writing {
    std::vector<Step> steps;
    std::size_t done = 0;
    std::vector<StateDisk::Done> waiting{};
  };

  [[nodiscard]] std::string path_of(const proto::DeviceId& device, const proto::ShortDeviceId& short_id) const;
  Outcome<void> load_index();
  void load(const proto::DeviceId& device, const proto::ShortDeviceId& short_id, std::int64_t used_unix);
  std::optional<proto::ShortDeviceId> rename_former(const std::string& path, const proto::DeviceId& device) const;
  Entry& touch(const proto::DeviceId& device, const proto::ShortDeviceId& short_id);
  void set_bytes(Entry& entry, Bytes der);
  void forget(const proto::DeviceId& device);
  void forget_oldest();
  void note(const proto::DeviceId& device, const Entry& entry, Kind kind);
  void start();
  void written(const Writing& writing, const Outcome<void>& outcome);
  static Outcome<void> write(Writing& writing);

  std::string directory_;
  std::size_t max_chains_;
  std::size_t max_bytes_;
  std::list<proto::DeviceId> by_use_;  // least recently used first
  std::unordered_map<proto::DeviceId, Entry> index_;
  std::unordered_map<proto::ShortDeviceId, proto::DeviceId> by_short_id_;
  std::size_t bytes_ = 0;  ///< of all chains
  StateDisk* disk_ = nullptr;
  /// For the disk. Bounded: what is here is once in it, and of what was forgotten as much again.
  std::unordered_map<proto::DeviceId, Step> unsaved_;
  std::vector<StateDisk::Done> waiting_;  ///< for those
  std::shared_ptr<Writing> writing_;      ///< second owner: its work
};

}  // namespace connd::daemon
