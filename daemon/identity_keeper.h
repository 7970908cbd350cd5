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
#include <string>
#include <string_view>

#include "daemon/identity_store.h"
#include "daemon/loop.h"
#include "ipc/error.h"

namespace connd::daemon {

/// Used on the loop's thread. Keys and the disk are the pool's: one job after the other, so that no two change the
/// directory at once. The account's key is read for a job, and wiped at its end. What a job changed is on the disk when
/// its `done` is called: on the loop's thread, unless this was destroyed before; maybe before the call returns.
class IdentityKeeper {
 public:
  using Text = ipc::Outcome<std::string>;
  using Done = std::function<void(Text)>;

  /// Shorter passphrases are refused: what they protect is an account.
  static constexpr std::size_t kMinPassphraseBytes = 8;
  /// Jobs that wait for others. Each takes some milliseconds, and is asked for by a person.
  static constexpr std::size_t kMaxJobs = 64;

  /// `identity` is the one in `state_dir`; all three outlive this. `on_replaced` is called after an import that gave
  /// the device another chain: load the identity anew. From then on this one does nothing (not-ready).
  IdentityKeeper(Loop& loop, std::string state_dir, LoadedIdentity& identity, std::function<void()> on_replaced)
      : loop_(loop), state_dir_(std::move(state_dir)), identity_(identity), on_replaced_(std::move(on_replaced)) {}

  // Errors of all: not-ready, resource-limit (kMaxJobs), internal.

  /// A certificate request for this device, in PEM.
  void request(Done done);
  /// Certifies another device for this device's account: its chain, in PEM. Errors: not-found (the account's key is not
  /// here), bad-certificate (no request).
  void sign(std::string_view request_pem, std::int64_t now_unix, Done done);
  /// A chain for this device's key; or, with encrypted keys in it, the account's keys that export_account() gave.
  /// Errors: bad-certificate, invalid-argument. The text is empty.
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
  };
  struct Job {
    std::function<Result()> work;  ///< on the pool: it has copies of all that it needs
    Done done;
  };
  /// What there is, for a job.
  struct Held {
    std::string state_dir;
    proto::SecretText device_key_pem;
    proto::CertificateChain chain;
  };

  [[nodiscard]] std::shared_ptr<const Held> held() const;
  void start(std::function<Result()> work, Done done);
  void run_next();
  void on_done(const Result& result, const Done& done);
  void close();

  static Result sign_now(const Held& held, std::string_view request_pem, std::int64_t now_unix);
  static Result import_chain(const Held& held, std::string_view pem, std::int64_t now_unix);
  static Result import_keys(const Held& held, std::string_view pem, std::string_view passphrase);
  static Result export_now(const Held& held, std::string_view passphrase);
  static Result forget_now(const Held& held);

  Loop& loop_;
  const std::string state_dir_;
  LoadedIdentity& identity_;
  std::function<void()> on_replaced_;
  std::deque<Job> jobs_;
  bool running_ = false;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< the job on the pool has the other, weak, end
};

}  // namespace connd::daemon
