// SPDX-License-Identifier: GPL-3.0-or-later
/// The device's identity on disk: made once, at the first start, and never again.
///
/// STATE/identity/ holds chain.pem (device, account, CA), device.key, account.key and ca.key, each of mode 0600. The
/// account and CA keys may be missing: they can leave the device. The directory appears whole or not at all: it is made
/// as identity.new and renamed, so a daemon that dies while it makes keys starts afresh.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "daemon/event_loop/loop.h"
#include "daemon/system/outcome.h"
#include "proto/identity.h"

namespace connd::daemon {

struct LoadedIdentity {
  proto::Identity identity;
  proto::SecretText device_key_pem;
  std::string chain_pem;
  /// It is in the directory. It is read when something is to be signed with it, and wiped then: who reads this
  /// process's memory gets a device, not an account.
  bool has_account_key = false;
  std::string signed_by_account;  ///< what AccountSigner made; empty when there is no key
};

/// Makes what the account has to sign at each start, while its key is in memory. On the pool's thread.
using AccountSigner = std::function<std::string(std::string_view account_key_pem, const std::string& chain_pem)>;

struct IdentityStoreOptions {
  unsigned rsa_bits = 4096;   ///< what Jami makes; tests use 2048
  std::int64_t now_unix = 0;  ///< seconds since 1970
  AccountSigner sign{};
};

/// The directory in a state directory.
std::string identity_dir(const std::string& state_dir);

/// Reads an identity. Failures, which name the file: anything but the two optional keys is missing, a key is readable
/// by others, is unreadable, or does not belong to its certificate, or the chain does not hold. Dates are not judged: a
/// clock may be wrong, and an owner of an expired identity must be able to see it. Blocks for some milliseconds.
Outcome<LoadedIdentity> load_identity(const std::string& state_dir, std::int64_t now_unix,
                                      const AccountSigner& sign = {});

/// Makes an identity where there is none, durable when it returns; refuses to touch one that exists (EEXIST). Blocks
/// for seconds at 4096 bits. No key is made while there is no room for it on the disk (waits_for_disk()).
Outcome<void> generate_identity(const std::string& state_dir, const IdentityStoreOptions& options);

/// True of a failure that passes when somebody makes room on the disk, or makes it writable.
bool waits_for_disk(const Failure& failure);

/// The chain takes the place of the one there is; the device's key stays. So do the account's and the CA's keys, if the
/// new chain has the same account; else they stay behind in what there was, which is kept as identity.before-N. Durable
/// when it returns; whatever happens meanwhile, there is one whole identity. `chain` must be the device key's.
Outcome<void> replace_chain(const std::string& state_dir, const proto::SecretText& device_key_pem,
                            const proto::CertificateChain& current, const proto::CertificateChain& chain);

/// The private keys that are not the device's; empty where they are not here.
struct AccountKeys {
  proto::SecretText account_pem;
  proto::SecretText ca_pem;
};
Outcome<AccountKeys> read_account_keys(const std::string& state_dir);
/// The account's alone; empty where it is not here.
Outcome<proto::SecretText> read_account_key(const std::string& state_dir);
/// Stores those that are not empty. Durable when it returns.
Outcome<void> write_account_keys(const std::string& state_dir, const AccountKeys& keys);
/// Removes both, durably. Their bytes are overwritten first, as far as the file system lets us.
Outcome<void> remove_account_keys(const std::string& state_dir);

/// When a certificate that is made now begins and ends.
proto::Validity validity_from(std::int64_t now_unix);

/// Loads the identity, or makes one if there is none at all, on libuv's pool; `done` runs once, on the loop's thread.
/// One that exists but cannot be used is a failure, never replaced. The caller holds the StateDir, and with it the only
/// right to write there; a loop that is destroyed meanwhile waits for the keys.
void load_or_generate_identity(Loop& loop, const std::string& state_dir, const IdentityStoreOptions& options,
                               std::function<void(Outcome<LoadedIdentity>)> done);

}  // namespace connd::daemon
