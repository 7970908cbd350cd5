// SPDX-License-Identifier: GPL-3.0-or-later
/// IdentityKeeper: how further devices join an account, and how an account's keys leave a device and come back.
///
/// A device has one key for as long as it lives, hence one device id; which account it belongs to is its certificate's
/// word. The new device makes a request, a device that holds the account's key signs it, and the new one imports the
/// chain.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "daemon/identity_store.h"
#include "daemon/stores.h"
#include "ipc/error.h"

namespace connd::daemon {

/// Used on the loop's thread. Calls block for some milliseconds (RSA, the disk): they are rare, and made by people.
/// What they change is on the disk when they return.
class IdentityKeeper {
 public:
  /// Shorter passphrases are refused: what they protect is an account.
  static constexpr std::size_t kMinPassphraseBytes = 8;

  /// `identity` and `stores` are those in `state_dir`; all outlive this. `on_replaced` is called after an import that
  /// gave the device another chain: load the identity anew.
  IdentityKeeper(std::string state_dir, LoadedIdentity& identity, Stores& stores, std::function<void()> on_replaced)
      : state_dir_(std::move(state_dir)), identity_(identity), stores_(stores), on_replaced_(std::move(on_replaced)) {}

  /// A certificate request for this device, in PEM.
  [[nodiscard]] ipc::Outcome<std::string> request() const;
  /// Certifies another device for this device's account: its chain, in PEM. Errors: not-found (the account's key is not
  /// here), bad-certificate (no request).
  [[nodiscard]] ipc::Outcome<std::string> sign(std::string_view request_pem, std::int64_t now_unix) const;
  /// Takes a device's certificates back that this account has given it: those that were made here or were seen in TLS,
  /// and `chain_pem`, if it is not empty. The list is stored, and the device is banned here; its id. Errors: not-found
  /// (the account's key, or a certificate of that device, is not here), bad-certificate (`chain_pem` is no chain of
  /// that device below this account), invalid-argument (this device), internal.
  ipc::Outcome<std::string> revoke(const proto::DeviceId& device, std::string_view chain_pem, std::int64_t now_unix);
  /// A chain for this device's key; or, with encrypted keys in it, the account's keys that export_account() gave.
  /// Gives the account that the device belongs to from now on. Errors: bad-certificate, invalid-argument, internal.
  ipc::Outcome<proto::AccountId> import(std::string_view pem, std::string_view passphrase, std::int64_t now_unix);
  /// The account's key, and the CA's if it is here, encrypted, and the chain, in PEM. Errors: not-found,
  /// invalid-argument (the passphrase is too short).
  [[nodiscard]] ipc::Outcome<std::string> export_account(std::string_view passphrase) const;
  /// Errors: not-found.
  ipc::Outcome<void> forget_account_key();

 private:
  ipc::Outcome<proto::AccountId> import_chain(std::string_view pem, std::int64_t now_unix);
  ipc::Outcome<proto::AccountId> import_keys(std::string_view pem, std::string_view passphrase);

  const std::string state_dir_;
  LoadedIdentity& identity_;
  Stores& stores_;
  std::function<void()> on_replaced_;
};

}  // namespace connd::daemon
