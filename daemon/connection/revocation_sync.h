// SPDX-License-Identifier: GPL-3.0-or-later
/// RevocationSync: how an account's revocations reach those who trust it, without the account's key being anywhere but
/// with its owner: as lists that the key has signed, on the DHT under the account, put again by every device that knows
/// them. Anybody can put anything there; a list counts when its issuer has signed it and its number is greater than
/// what is here (CrlStore::learn), so none is rolled back, and one that is withheld is found again elsewhere.
///
/// Whose lists are here is remembered with the account's certificate (Stores::revokers): after a start they are put
/// again, whether or not one of the account's devices is there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/dht/signalling.h"
#include "daemon/event_loop/loop.h"
#include "daemon/trust/stores.h"

namespace connd::daemon {

/// Used on the loop's thread.
class RevocationSync {
 public:
  /// Accounts that are asked about: of peers that are trusted, and one's own. The one not met for longest goes.
  static constexpr std::size_t kMaxAccounts = 256;
  /// A list of some 300 devices. Of what is longer the DHT's nodes keep no value (--dht-max-value, 16 KiB): it is told
  /// (too_long), for somebody has to carry it.
  static constexpr std::size_t kMaxListBytes = std::size_t{12} * 1024;
  static constexpr proto::Duration kInterval = std::chrono::hours(6);
  /// When an account could not be asked about, for want of a network.
  static constexpr proto::Duration kRetry = std::chrono::minutes(10);
  /// Between two accounts that are taken up after a start, the first included: each is a small file, a put and a
  /// search.
  static constexpr proto::Duration kTakeUpPause = std::chrono::milliseconds(100);
  static constexpr proto::Duration kSearchTime = std::chrono::seconds(20);
  /// A peer that connects again and again is no cause to ask each time.
  static constexpr proto::Duration kAskAgain = std::chrono::seconds(1);

  /// All outlive this. `changed`: certificates may be revoked now that were not; called in turns of their own.
  RevocationSync(Loop& loop, Signalling& signalling, Stores& stores, std::function<void()> changed);

  /// A chain whose account is of interest: this device's own, or that of a trusted peer that has shown it in TLS. Asks
  /// about its account, and puts what is known of it.
  void met(const proto::CertificateChain& chain) { meet(chain, loop_.now()); }
  /// This device's own, which is not forgotten for others.
  void is_own(const proto::CertificateChain& chain) { meet(chain, proto::kNever); }
  /// Lists have been added here: what is newest of each account is put.
  void lists_changed();

  /// How long ago the DHT was asked about the account that this was least lately done for, and answered; nothing while
  /// there is none.
  [[nodiscard]] std::optional<proto::TimePoint> oldest_answer() const;
  /// Accounts whose newest list is longer than kMaxListBytes.
  [[nodiscard]] std::vector<proto::AccountId> too_long() const;

 private:
  struct Account {
    proto::CertificateChain issuers;  ///< the account's certificate first
    proto::TimePoint met;
    std::optional<proto::TimePoint> asked{};
    std::optional<proto::TimePoint> answered{};
    bool too_long = false;  ///< its newest list
  };
  /// Lists of anybody's being read, and their signatures checked, on the pool.
  struct Reading {
    proto::CertificateChain issuers;
    std::vector<proto::ByteVector> ders;
    // The outcome.
    std::vector<proto::RevocationList> genuine{};  ///< by number

    void run();
  };

  void meet(const proto::CertificateChain& chain, proto::TimePoint when);
  Account& add(const proto::CertificateChain& issuers, proto::TimePoint when);
  void take_up_next();
  void look_up(const proto::AccountId& id);
  void found(const proto::AccountId& id, const std::vector<proto::ByteVector>& lists);
  void learn(const proto::AccountId& id, const std::vector<proto::RevocationList>& lists);
  void put_newest(const proto::AccountId& id, Account& account);
  void look_up_all();

  Loop& loop_;
  Signalling& signalling_;
  Stores& stores_;
  std::function<void()> changed_;
  std::map<proto::AccountId, Account> accounts_;
  std::shared_ptr<int> alive_ =
      std::make_shared<int>();               ///< searches and the pool hold a weak_ptr: they may end after us
  std::vector<proto::DeviceId> to_take_up_;  ///< keys of accounts that have lists here
  Timer timer_;
  Timer take_up_timer_;
};

}  // namespace connd::daemon
