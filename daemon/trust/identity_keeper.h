// SPDX-License-Identifier: GPL-3.0-or-later
/// IdentityKeeper: how further devices join an account, and how an account's keys leave a device and come back.
///
/// A device has one key for as long as it lives, hence one device id; which account it belongs to is its certificate's
/// word. The new device makes a request, a device that holds the account's key signs it, and the new one imports the
/// chain.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/event_loop/loop.h"
#include "daemon/trust/identity_store.h"
#include "daemon/trust/stores.h"
#include "ipc/error.h"

namespace connd::daemon {

/// Used on the loop's thread. Keys and the disk are the pool's: one job after the other, so that no two change the
/// directory at once. The account's key is read for a job, and wiped at its end. What a job changed is on the disk when
/// its `done` is called: on the loop's thread, unless this was destroyed before; maybe before the call returns.
class IdentityKeeper {
 public:
  using Text = ipc::Outcome<std::string>;
  using Done = std::function<void(Text)>;
  using InForce = std::function<void(const proto::RevocationList&)>;

  /// Shorter passphrases are refused: what they protect is an account.
  static constexpr std::size_t kMinPassphraseBytes = 8;
  /// Jobs that wait for others. Each takes some milliseconds, and is asked for by a person.
  static constexpr std::size_t kMaxJobs = 64;

  /// `identity` and `stores` are those in `state_dir`; all four outlive this. `on_replaced` is called after an import
  /// that gave the device another chain: load the identity anew. From then on this one does nothing (not-ready).
  IdentityKeeper(Loop& loop, std::string state_dir, LoadedIdentity& identity, Stores& stores,
                 std::function<void()> on_replaced)
      : loop_(loop),
        state_dir_(std::move(state_dir)),
        identity_(identity),
        stores_(stores),
        on_replaced_(std::move(on_replaced)) {}

  // Errors of all: not-ready, resource-limit (kMaxJobs), internal.

  /// A certificate request for this device, in PEM.
  void request(Done done);
  /// Certifies another device for this device's account: its chain, in PEM. Errors: not-found (the account's key is not
  /// here), bad-certificate (no request).
  void sign(std::string_view request_pem, std::int64_t now_unix, Done done);
  /// Takes a device's certificates back that this account has given it: those that were made here or were seen in TLS,
  /// and `chain_pem`, if it is not empty. The list is stored, and the device is banned here; the text is the list's id.
  /// Errors: not-found (the account's key, or a certificate of that device, is not here), bad-certificate (`chain_pem`
  /// is no chain of that device below this account), invalid-argument (this device). `in_force` is called with the list
  /// when it is so, before the disk has it.
  void revoke(const proto::DeviceId& device, std::string_view chain_pem, std::int64_t now_unix, Done done,
              InForce in_force = {});
  /// A chain for this device's key; or, with encrypted keys in it, the account's keys that export_account() gave.
  /// Errors: bad-certificate, invalid-argument. The text is the id of the account that the device belongs to from now
  /// on.
  void import(std::string_view pem, std::string_view passphrase, std::int64_t now_unix, Done done);
  /// The account's key, and the CA's if it is here, encrypted, and the chain, in PEM. Errors: not-found,
  /// invalid-argument (the passphrase is too short).
  void export_account(std::string_view passphrase, Done done);
  /// Errors: not-found. The text is empty.
  void forget_account_key(Done done);

 private:
  enum class Change : std::uint8_t { kNone, kChain, kKeyCame, kKeyWent };
  struct Result {
    Text text = std::string();
    Change change = Change::kNone;
    // What the loop, whose the stores are, is to keep:
    std::optional<proto::CertificateChain> issued = {};
    std::optional<proto::RevocationList> list = {};
  };
  using Work = std::function<Result()>;   ///< on the pool: it has copies of all that it needs
  using Prepare = std::function<Work()>;  ///< on the loop, when its turn comes: what was before has changed the stores
  using Finish = std::function<void(const Result&)>;  ///< on the loop
  struct Job {
    Prepare prepare;
    Finish finish;
  };
  /// What there is, for a job.
  struct Held {
    std::string state_dir;
    proto::SecretText device_key_pem;
    proto::CertificateChain chain;
  };
  struct Revocation {
    proto::DeviceId device;
    std::string chain_pem;
    std::vector<proto::CertificateChain> known;  ///< what the stores have of that device
    std::string former_pem;                      ///< the account's newest list; empty: there is none
    std::int64_t now_unix = 0;
  };

  [[nodiscard]] std::shared_ptr<const Held> held() const;
  void start(Prepare prepare, Finish finish);
  void start(Work work, Done done);
  void run_next();
  void on_done(const Result& result, const Finish& finish);
  void close();
  void keep_issued(const Result& result, const Done& done);
  std::vector<proto::CertificateChain> known_chains(const proto::DeviceId& device);
  [[nodiscard]] std::string newest_list_pem() const;
  void keep_list(const Result& result, const proto::DeviceId& device, std::int64_t now_unix, const Done& done,
                 const InForce& in_force);

  static Result sign_now(const Held& held, std::string_view request_pem, std::int64_t now_unix);
  static Result revoke_now(const Held& held, const Revocation& revocation);
  static Result import_chain(const Held& held, std::string_view pem, std::int64_t now_unix);
  static Result import_keys(const Held& held, std::string_view pem, std::string_view passphrase);
  static Result export_now(const Held& held, std::string_view passphrase);
  static Result forget_now(const Held& held);

  Loop& loop_;
  const std::string state_dir_;
  LoadedIdentity& identity_;
  Stores& stores_;
  std::function<void()> on_replaced_;
  std::deque<Job> jobs_;
  bool running_ = false;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< the job on the pool has the other, weak, end
};

}  // namespace connd::daemon
