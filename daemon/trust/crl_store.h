// SPDX-License-Identifier: GPL-3.0-or-later
/// CrlStore: certificate revocation lists that an administrator has imported.
///
/// Lists only add up: a certificate is revoked when any of them says so and its issuer has signed that list. So an
/// older list, or one that somebody forged, can undo nothing.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/system/outcome.h"
#include "proto/device_id.h"
#include "proto/revocation_list.h"

namespace connd::daemon {

/// Movable; used on one thread, the loop's. Changes block until they are on disk: they are rare, and made by people.
class CrlStore {
 public:
  /// 96 MiB of disk at most, and as much memory.
  static constexpr std::size_t kMaxLists = 256;
  /// Of lists that were learnt, of one issuer's, none of which has all of another: it has one, unless it means harm.
  static constexpr std::size_t kMaxLearntOfIssuer = 8;

  /// Uses `directory`, made where missing; files in it are named ID.crl, others are left alone. Failures: it cannot be
  /// made or read, or a list in it is damaged: a revocation is never dropped silently.
  static Outcome<CrlStore> open(std::string directory);

  /// On disk when it returns; again: changes nothing. Gives its id. Failures: no list (invalid_argument), too many
  /// (file_too_large), and those of write_atomically.
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
  [[nodiscard]] const std::map<std::string, proto::RevocationList>& list() const { return lists_; }

  /// Another one after each change.
  [[nodiscard]] std::uint64_t change() const { return change_; }

  [[nodiscard]] bool is_revoked(const X509& certificate, const X509& issuer) const;

 private:
  explicit CrlStore(std::string directory) : directory_(std::move(directory)) {}
  Outcome<void> load();
  [[nodiscard]] std::string path_of(const std::string& id) const { return directory_ + "/" + id + ".crl"; }
  [[nodiscard]] bool is_genuine(const std::string& id, const X509& issuer) const;

  std::string directory_;
  std::map<std::string, proto::RevocationList> lists_;  ///< by id
  /// Whether the list of that id was signed by the key of that one: looked at once, for a long list takes a
  /// millisecond.
  mutable std::map<std::pair<std::string, proto::DeviceId>, bool> genuine_;
  std::uint64_t change_ = 0;
};

}  // namespace connd::daemon
