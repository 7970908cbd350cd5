// SPDX-License-Identifier: GPL-3.0-or-later
/// CrlStore: certificate revocation lists that an administrator has imported.
///
/// Lists only add up: a certificate is revoked when any of them says so and its issuer has signed that list. So an
/// older list, or one that somebody forged, can undo nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/system/outcome.h"
#include "daemon/trust/state_disk.h"
#include "proto/device_id.h"
#include "proto/revocation_list.h"

namespace connd::daemon {

/// Movable until it has a disk; used on one thread, the loop's. Changes are in force when they return; the disk follows
/// (when_stored). What it could not take is taken back, here too.
class CrlStore {
 public:
  /// 96 MiB of disk at most, and as much memory.
  static constexpr std::size_t kMaxLists = 256;
  /// Of lists that were learnt, of one issuer's, none of which has all of another: it has one, unless it means harm.
  static constexpr std::size_t kMaxLearntOfIssuer = 8;

  /// Uses `directory`, made where missing; files in it are named ID.crl, others are left alone. Failures: it cannot be
  /// made or read, or a list in it is damaged: a revocation is never dropped silently.
  static Outcome<CrlStore> open(std::string directory);

  /// Who is to write from now on; without one each change waits for the disk. It and this stay where they are.
  /// `taken_back` is called after something had to be: whoever acts on what this says does so anew.
  void use(StateDisk& disk, std::function<void()> taken_back);

  /// In force when it returns; again: changes nothing. Gives its id. Failures: no list (invalid_argument), too many
  /// (file_too_large), too many changes that wait for the disk, and without a StateDisk those of write_atomically.
  Outcome<std::string> add(std::string_view pem);
  /// A list that came from anywhere, said to be `issuer`'s: kept when the issuer has signed it, and its number is
  /// greater than that of each of the issuer's that is here; older ones whose every entry it has go then. False: it is
  /// none of that, and nothing has changed. Failures: as add(), and kMaxLearntOfIssuer (file_too_large).
  Outcome<bool> learn(const proto::RevocationList& list, const X509& issuer) {
    return list.is_signed_by(issuer) ? learn_genuine(list, issuer) : Outcome<bool>(false);
  }
  /// The same of one that `issuer` has signed: who says so has looked, on another thread, say.
  Outcome<bool> learn_genuine(const proto::RevocationList& list, const X509& issuer);
  /// The issuer's own with the greatest number; null when there is none. Valid until the next change.
  [[nodiscard]] const proto::RevocationList* newest_of(const X509& issuer) const;
  /// False when there is none of that id.
  Outcome<bool> remove(const std::string& id);
  /// Calls `done` once all changes so far are on the disk, maybe at once; if the last of them has been taken back, with
  /// why.
  void when_stored(StateDisk::Done done);
  [[nodiscard]] const std::map<std::string, proto::RevocationList>& list() const { return lists_; }

  /// Another one after each change.
  [[nodiscard]] std::uint64_t change() const { return change_; }

  [[nodiscard]] bool is_revoked(const X509& certificate, const X509& issuer) const;

 private:
  /// One list that comes, or goes.
  struct Step {
    std::string id;
    proto::ByteVector der;  ///< empty: it goes
  };
  /// What belongs together: nothing is removed before what takes its place is there.
  struct Change {
    std::vector<Step> steps;
    std::size_t done = 0;  ///< steps that the disk has taken
    std::vector<StateDisk::Done> waiting{};
  };
  /// Of a list that changes are under way for.
  struct Unsettled {
    proto::ByteVector on_disk;  ///< empty: it is not there
    std::size_t changes = 0;
  };

  explicit CrlStore(std::string directory) : directory_(std::move(directory)) {}
  Outcome<void> load();
  [[nodiscard]] bool is_genuine(const std::string& id, const X509& issuer) const;
  Outcome<void> room_for_one() const;
  Outcome<void> apply(std::vector<Step> steps);
  void put_back(const std::string& id, const proto::ByteVector& der);
  void written(Change& change, const Outcome<void>& outcome);
  static Outcome<void> write(const std::string& directory, Change& change);

  std::string directory_;
  std::map<std::string, proto::RevocationList> lists_;  ///< by id
  /// Whether the list of that id was signed by the key of that one: looked at once, for a long list takes a
  /// millisecond.
  mutable std::map<std::pair<std::string, proto::DeviceId>, bool> genuine_;
  std::uint64_t change_ = 0;
  StateDisk* disk_ = nullptr;
  std::function<void()> taken_back_;
  std::deque<std::shared_ptr<Change>> changes_;  ///< that the disk has not taken yet; second owner: their work
  std::map<std::string, Unsettled> unsettled_;
};

}  // namespace connd::daemon
