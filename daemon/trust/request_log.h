// SPDX-License-Identifier: GPL-3.0-or-later
/// RequestLog: which connection requests were treated already, by signer.
///
/// The DHT delivers a request again for about ten minutes, on each of two keys, and after a restart; anyone can replay
/// one at any time. Requests carry no time, so entries age by count, never by time: a replay an hour later finds its
/// id.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/system/outcome.h"
#include "proto/bytes.h"
#include "proto/device_id.h"

namespace connd::daemon {

/// The ids of the signers of one standing. Least recently heard signers go first when a bound is passed.
class SignerIds {
 public:
  /// One signer cannot push out more than its own oldest ids.
  static constexpr std::size_t kMaxIdsPerSigner = 1024;
  static constexpr std::size_t kMaxSigners = 4096;
  /// 2 MiB of ids: what strangers can make us hold, and what one change writes.
  static constexpr std::size_t kMaxIds = 256 * 1024;

  struct Signer {
    proto::DeviceId id;
    std::vector<std::uint64_t> seen;  // a ring once it is full
    std::size_t oldest = 0;
  };

  SignerIds() = default;
  // The index points into the list: a copy would point into another's.
  SignerIds(const SignerIds&) = delete;
  SignerIds& operator=(const SignerIds&) = delete;
  SignerIds(SignerIds&&) = default;
  SignerIds& operator=(SignerIds&&) = default;
  ~SignerIds() = default;

  /// False when the id is there already. Either way the signer is the last heard.
  bool insert(const proto::DeviceId& signer, std::uint64_t id);
  /// Moves a signer and its ids to `to`; false when it is not here.
  bool move_to(SignerIds& to, const proto::DeviceId& signer);
  [[nodiscard]] bool contains(const proto::DeviceId& signer) const { return index_.contains(signer); }
  /// Least recently heard first.
  [[nodiscard]] const std::list<Signer>& signers() const { return signers_; }
  [[nodiscard]] std::size_t ids() const { return ids_; }

 private:
  void shrink();

  std::list<Signer> signers_;
  std::unordered_map<proto::DeviceId, std::list<Signer>::iterator> index_;
  std::size_t ids_ = 0;
};

/// Movable; used on one thread, the loop's. There are two files: one has the ids of signers that are allowed, and is
/// written at each change; in the other are the latest of all others, and it is written now and then: strangers must
/// not keep the disk busy. Only `serialize`'s bytes go elsewhere: writing them is the owner's business (an fsync does
/// not belong on the loop). Who dies before it is done treats those requests again when the DHT delivers them again: a
/// caller that still waits gets its answer, and of another the answer goes nowhere.
class RequestLog {
 public:
  static constexpr std::size_t kMaxFileBytes = 4 * 1024 * 1024;
  /// Of signers that are not allowed, in their file: the DHT delivers what was put in the last ten minutes, and more
  /// than a few thousand strangers in that time are a flood, of which nothing is worth keeping. 172 kB.
  static constexpr std::size_t kMaxStoredUnknown = 4'096;

  /// Whose ids. Each kind has its file.
  enum class Kind : std::uint8_t { kAllowed, kUnknown };

  /// Reads `path`, and `path`-unknown; no file means nothing was seen. Failures: the first cannot be read, or is
  /// damaged. (Without the second, strangers' requests are treated again, once.)
  static Outcome<RequestLog> open(std::string path);

  /// Whether this request is new; it is not, from then on, nor after a restart.
  bool first_seen(const proto::DeviceId& signer, std::uint64_t id, bool allowed);

  /// Whether ids changed since the last `saved`.
  [[nodiscard]] bool dirty(Kind kind = Kind::kAllowed) const { return file(kind).change != file(kind).saved; }

  struct Snapshot {
    proto::ByteVector bytes;  ///< what to write to path(), atomically, mode 0600
    std::uint64_t change;     ///< for `saved`
  };
  [[nodiscard]] Snapshot serialize(Kind kind = Kind::kAllowed) const;
  /// The snapshot is on disk. What came after it is still dirty. Write one snapshot at a time: an older one that lands
  /// later would undo a newer one.
  void saved(std::uint64_t change, Kind kind = Kind::kAllowed) {
    files_[static_cast<std::size_t>(kind)].saved = change;
  }
  [[nodiscard]] std::string path(Kind kind = Kind::kAllowed) const;
  /// serialize, write and saved in one, of both; blocks. On failure it stays dirty.
  Outcome<void> save();

 private:
  struct File {
    std::uint64_t change = 0;
    std::uint64_t saved = 0;
  };

  explicit RequestLog(std::string path) : path_(std::move(path)) {}
  static bool load(proto::Bytes bytes, SignerIds& into);
  [[nodiscard]] const File& file(Kind kind) const { return files_[static_cast<std::size_t>(kind)]; }
  void changed(Kind kind) { ++files_[static_cast<std::size_t>(kind)].change; }

  std::string path_;
  SignerIds allowed_;
  SignerIds unknown_;
  std::array<File, 2> files_;
};

}  // namespace connd::daemon
