// SPDX-License-Identifier: GPL-3.0-or-later
/// RevocationSync: how an account's revocations reach those who trust it, without the account's key being anywhere but
/// with its owner: as lists that the key has signed, on the DHT under the account, put again by every device that knows
/// them. Anybody can put anything there; a list counts when its issuer has signed it and its number is greater than
/// what is here (CrlStore::learn), so none is rolled back, and one that is withheld is found again elsewhere.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/loop.h"
#include "daemon/signalling.h"
#include "daemon/stores.h"

namespace connd::daemon {

/// Used on the loop's thread.
class RevocationSync {
 public:
  /// Accounts that are asked about: of peers that are trusted, and one's own. The one not met for longest goes.
  static constexpr std::size_t kMaxAccounts = 256;
  /// A list of some 300 devices. What is longer the DHT's nodes do not keep.
  static constexpr std::size_t kMaxListBytes = std::size_t{12} * 1024;
  static constexpr proto::Duration kInterval = std::chrono::hours(6);
  static constexpr proto::Duration kSearchTime = std::chrono::seconds(20);
  /// A peer that connects again and again is no cause to ask each time.
  static constexpr proto::Duration kAskAgain = std::chrono::seconds(1);

  /// All outlive this. `changed`: certificates may be revoked now that were not.
  RevocationSync(Loop& loop, Signalling& signalling, Stores& stores, std::function<void()> changed);

  /// A chain whose account is of interest: this device's own, or that of a trusted peer that has shown it in TLS. Asks
  /// about its account, and puts what is known of it.
  void met(const proto::CertificateChain& chain);
  /// Lists have been added here: what is newest of each account is put.
  void lists_changed();

  /// How long ago the DHT was asked about the account that this was least lately done for, and answered; nothing while
  /// there is none.
  [[nodiscard]] std::optional<proto::TimePoint> oldest_answer() const;

 private:
  struct Account {
    proto::CertificateChain issuers;  ///< the account's certificate first
    proto::TimePoint met;
    std::optional<proto::TimePoint> asked{};
    std::optional<proto::TimePoint> answered{};
  };

  void look_up(const proto::AccountId& id);
  void found(const proto::AccountId& id, const std::vector<proto::ByteVector>& lists);
  void put_newest(const proto::AccountId& id, const Account& account);
  void look_up_all();

  Loop& loop_;
  Signalling& signalling_;
  Stores& stores_;
  std::function<void()> changed_;
  std::map<proto::AccountId, Account> accounts_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< a search holds a weak_ptr: it may end after us
  Timer timer_;
};

}  // namespace connd::daemon
