// SPDX-License-Identifier: GPL-3.0-or-later
/// KnownChains: which certificate chains we believe, and what follows from them.
///
/// Anybody can make a chain for anybody's public key, and put it where that device's is looked for. So:
/// - a chain that a device has shown in TLS, with the key that belongs to it, is its own word. It is stored, and
/// believed
///   for as long as it is valid; a ban of what it names holds for the device afterwards too;
/// - a chain from elsewhere is taken for its public key, and for what its issuers say of that key if it verifies now:
/// it
///   can let the device in. It is not stored, and does not ban or refuse, unless there is no other valid one of the
///   device. One that does not verify is passed over: the right one may come behind it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <vector>

#include "daemon/dht/signalling.h"
#include "daemon/trust/stores.h"

namespace connd::daemon {

/// Used on the loop's thread. What it knows of a chain it has read once, and keeps: at most
/// CertificateStore::kMaxChains of some 200 bytes.
class KnownChains {
 public:
  /// Seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  /// `stores` outlive this. `clock`: another than the machine's, for tests.
  explicit KnownChains(Stores& stores, Clock clock = {});

  /// What the trust list says of a device, its stored chain included: that may ban it at any time, and allow it while
  /// it is valid.
  /// `short_id` is its own, where it is known from its key.
  [[nodiscard]] Trust trust_of(const proto::DeviceId& device,
                               const std::optional<proto::ShortDeviceId>& short_id = std::nullopt);
  /// Its account by its stored chain, if that is valid.
  [[nodiscard]] std::optional<proto::AccountId> account_of(const proto::DeviceId& device);
  /// By the clock that dates are judged by.
  [[nodiscard]] std::int64_t unix_now() const { return clock_(); }
  /// Why its stored chain is not believed; no error when it is, or there is none.
  [[nodiscard]] std::error_code fault_of(const proto::DeviceId& device);
  /// Its public key by its stored chain, which need not be valid: the key has the device's id.
  [[nodiscard]] std::optional<proto::ByteVector> key_of(const proto::DeviceId& device);

  /// A device has got an entry: if it was met before, what it was then is remembered there. Failures: of
  /// TrustStore::remember.
  Outcome<void> remember(const proto::DeviceId& device);
  /// What TLS has just verified, of the device that holds the key: stored in place of what was there. The first one of
  /// a device that is allowed is remembered with its entry too. Failures: those of CertificateStore::put and
  /// TrustStore::remember; what was there stays.
  Outcome<void> met(const proto::CertificateChain& chain);

  /// Of a device that shows another account's chain than that which it had when it was met first, and got an entry: the
  /// last one of that account. It can show another whenever it likes, but does not get rid of the first one by it.
  [[nodiscard]] std::optional<proto::CertificateChain> former_chain(const proto::CertificateChain& shown);
  /// Whether the account that the device had, or what is above it, has revoked that chain.
  [[nodiscard]] bool taken_back(const proto::CertificateChain& shown);

  /// What a search has come by.
  struct Seen {
    bool any = false;       ///< a chain of that key
    bool banned = false;    ///< a valid one below an account or CA that is banned
    bool other = false;     ///< another valid one
    std::error_code fault;  ///< of the first that would allow the device, if it were valid
    /// Nothing valid speaks for the device.
    [[nodiscard]] bool bans() const { return banned && !other; }
  };
  /// What the signer of a request says of itself in it, by a chain of its own key. No other chain can be asked for
  /// then.
  struct Shown {
    Trust trust;
    std::error_code fault;  ///< of a chain that would allow the device, or ban it, if it were valid
  };
  /// `checked` is of the device's key.
  [[nodiscard]] Shown shown(const CheckedChain& checked) const;

  // The two ways to take a stranger's chain from elsewhere. Both are for one search each, and write down in `seen` what
  // is passed over.

  /// To call the device: all that it takes is its key, from any chain that does not ban it. TLS decides.
  [[nodiscard]] ChainWanted for_call(std::shared_ptr<Seen> seen) const;
  /// To let it in: a chain that allows it, and is valid.
  [[nodiscard]] ChainWanted for_request(std::shared_ptr<Seen> seen) const;

 private:
  struct Facts {
    std::vector<proto::AccountId> issuers;
    proto::ShortDeviceId short_id{};
    proto::Validity dates{};
    std::error_code fault;         ///< whatever the date
    std::uint64_t crl_change = 0;  ///< the revocation lists that it was held to
  };

  Outcome<void> remember(const proto::CertificateChain& chain);
  [[nodiscard]] const Facts* facts_of(const proto::DeviceId& device);
  [[nodiscard]] Facts facts_in(const proto::CertificateChain& chain) const;
  [[nodiscard]] std::error_code fault_now(const Facts& facts) const;
  [[nodiscard]] std::error_code fault_of(const CheckedChain& checked) const;
  Trust judge(const CheckedChain& checked, Seen& seen) const;

  Stores& stores_;
  Clock clock_;
  std::unordered_map<proto::DeviceId, Facts> facts_;  ///< of those in the store
};

}  // namespace connd::daemon
