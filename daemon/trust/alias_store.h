// SPDX-License-Identifier: GPL-3.0-or-later
/// AliasStore: names that people give to devices.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/system/json_file.h"
#include "daemon/system/outcome.h"
#include "daemon/trust/unsaved.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// Movable until it has a disk; used on one thread, the loop's. Changes are in force when they return; the disk follows
/// (when_stored). What it could not take is taken back, here too.
class AliasStore {
 public:
  /// An address book; a hundred times that of a busy person.
  static constexpr std::size_t kMaxEntries = 10'000;
  static constexpr std::size_t kMaxFileBytes = 4 * 1024 * 1024;

  /// The API's rule (ipc::check_alias): a name is never taken for an id.
  static bool valid_name(std::string_view name);

  /// Reads `path`; no file means no aliases. Failures: it cannot be read, or anything in it is not understood.
  static Outcome<AliasStore> open(std::string path);

  /// Who is to write from now on; without one each change waits for the disk. It and this stay where they are.
  void use(StateDisk& disk) { unsaved_.use(&disk); }

  /// In force when they return ok; on failure nothing has changed, as with TrustStore. `set` replaces; EINVAL: not a
  /// valid name.
  Outcome<void> set(const std::string& name, const proto::DeviceId& device);
  /// False when there is no such alias.
  Outcome<bool> remove(const std::string& name);

  /// Calls `done` once all changes so far are on the disk, maybe at once; or have been taken back, then with why.
  void when_stored(StateDisk::Done done) { unsaved_.when_stored(std::move(done)); }

  [[nodiscard]] std::optional<proto::DeviceId> find(std::string_view name) const;
  /// What a PEER argument means: a device id in hex, else an alias.
  [[nodiscard]] std::optional<proto::DeviceId> resolve(std::string_view peer) const;
  /// The first of its names; null when it has none. Valid until the next change.
  [[nodiscard]] const std::string* name_of(const proto::DeviceId& device) const;
  /// In the order of names; valid until the next change.
  [[nodiscard]] const std::map<std::string, proto::DeviceId, std::less<>>& list() const { return aliases_; }

 private:
  friend class Unsaved<AliasStore, std::string, proto::DeviceId>;

  explicit AliasStore(std::string path);
  Outcome<void> replace(const std::string& name, const std::optional<proto::DeviceId>& device);
  void put_back(const std::string& name, const std::optional<proto::DeviceId>& device);
  [[nodiscard]] StateDisk::Work writing() const;
  static void taken_back(const Failure& why);

  JsonFile file_;
  std::map<std::string, proto::DeviceId, std::less<>> aliases_;
  std::set<std::pair<proto::DeviceId, std::string>> names_;  ///< the same, by device
  Unsaved<AliasStore, std::string, proto::DeviceId> unsaved_;
};

}  // namespace connd::daemon
