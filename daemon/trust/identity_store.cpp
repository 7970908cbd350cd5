// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/identity_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include <sys/stat.h>

#include "daemon/system/atomic_file.h"
#include "ipc/fd.h"
#include "proto/error.h"

namespace connd::daemon {
namespace {

constexpr const char* kChainFile = "chain.pem";
constexpr const char* kDeviceKeyFile = "device.key";
constexpr const char* kAccountKeyFile = "account.key";
constexpr const char* kCaKeyFile = "ca.key";
// A key of 16384 bits is 13 KB of PEM.
constexpr std::size_t kMaxKeyBytes = 32 * 1024;

// Of identities that were replaced. Who has had more accounts can move some away.
constexpr unsigned kMaxFormer = 1000;

// Kept while keys are made: four files of at most two blocks each, and their directory.
constexpr const char* kRoomFile = "identity.room";
constexpr std::size_t kRoomBytes = 32 * 1024;

// Peers' clocks may be behind ours by this much.
constexpr std::int64_t kClockSkewSeconds = 86'400;
// As long as a device is used: no peer learns of a renewed certificate by itself.
constexpr std::int64_t kValiditySeconds = 20LL * 365 * 86'400;
// 2024-01-01, older than this program: a clock that shows less was not set yet, and must not date the identity.
constexpr std::int64_t kEarliestUnix = 1'704'067'200;

Failure unusable(const std::string& path, const std::string& why) {
  return failure(std::errc::illegal_byte_sequence,
                 path + ": " + why +
                     "; restore the identity directory from a backup, or move it away to become a new "
                     "device");
}

// A key or the chain; nothing when it is missing.
Outcome<std::optional<proto::SecretText>> read_secret(const std::string& path, std::size_t max_bytes) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return failure(std::errc::operation_not_permitted, path + ": others can read or write it; chmod 600 it");
  }
  auto bytes = read_bounded(path, max_bytes);
  if (!bytes) return bytes.failure();
  if (!*bytes) return std::optional<proto::SecretText>{};
  std::optional<proto::SecretText> text(std::in_place, proto::as_text(**bytes));
  OPENSSL_cleanse((*bytes)->data(), (*bytes)->size());
  return text;
}

Outcome<proto::SecretText> read_needed(const std::string& path, std::size_t max_bytes) {
  auto text = read_secret(path, max_bytes);
  if (!text) return text.failure();
  if (!*text) return unusable(path, "is missing");
  return *std::move(*text);
}

// The account's certificate is the second of a chain, or the only one.
Outcome<void> check_account_key(const std::string& path, const proto::SecretText& pem,
                                const proto::CertificateChain& chain) {
  if (pem.empty()) return {};
  const auto public_key = proto::public_key_der_from(pem.view());
  if (!public_key) return unusable(path, public_key.error().message());
  if (proto::key_id_of(*public_key) != chain.account_id()) {
    return unusable(path, "is not the key of the account's certificate");
  }
  return {};
}

Outcome<void> check_chain(const std::string& path, const proto::CertificateChain& chain, std::int64_t now_unix) {
  const auto verified = chain.verify(now_unix);
  if (verified) return {};
  const bool only_dates = verified.error() == proto::make_error_code(proto::Errc::kCertificateExpired) ||
                          verified.error() == proto::make_error_code(proto::Errc::kCertificateNotYetValid);
  if (only_dates) return {};
  return unusable(path, verified.error().message());
}

struct IdentityFile {
  const char* name;
  std::string_view text;  ///< empty: there is none
};

// What is in `directory` is on disk when this returns; `directory` itself is the caller's to sync.
Outcome<void> write_some(const std::vector<IdentityFile>& files, const std::string& directory) {
  for (const auto& file : files) {
    if (file.text.empty()) continue;
    auto written = write_atomically(directory + "/" + file.name, proto::as_bytes(file.text), 0600);
    if (!written) return written;
  }
  return {};
}

// A directory with these files, or none.
Outcome<void> make_fresh(const std::string& fresh, const std::vector<IdentityFile>& files) {
  std::error_code error;
  std::filesystem::remove_all(fresh, error);  // of a start that died: nobody has seen these keys
  if (::mkdir(fresh.c_str(), 0700) != 0) return system_failure(errno, fresh, "cannot be made");
  auto written = write_some(files, fresh);
  if (!written) std::filesystem::remove_all(fresh, error);
  return written;
}

Outcome<void> write_identity(const std::string& state_dir, const proto::GeneratedIdentity& made) {
  const std::string target = identity_dir(state_dir);
  const std::string fresh = target + ".new";
  auto written = make_fresh(fresh, {{kCaKeyFile, made.ca_key_pem.view()},
                                    {kAccountKeyFile, made.account_key_pem.view()},
                                    {kDeviceKeyFile, made.device_key_pem.view()},
                                    {kChainFile, made.chain_pem}});
  if (!written) return written;
  if (::rename(fresh.c_str(), target.c_str()) != 0) {
    written = system_failure(errno, target, "cannot be made");
    std::error_code error;
    std::filesystem::remove_all(fresh, error);
    return written;
  }
  return sync_directory(state_dir);
}

// Gives the identity that was replaced a name of its own: it has the only copy of its account's key.
Outcome<void> keep_former(const std::string& former, const std::string& target) {
  for (unsigned n = 1; n < kMaxFormer; ++n) {
    const std::string name = target + ".before-" + std::to_string(n);
    if (::renameat2(AT_FDCWD, former.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno != EEXIST) return system_failure(errno, name, "cannot be made");
  }
  return system_failure(EEXIST, target + ".before-N", "there are too many");
}

Outcome<void> shred(const std::string& path) {
  const ipc::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return {};
  struct stat info {};
  const bool known = fd && ::fstat(fd.get(), &info) == 0;
  const std::string zeros(known ? std::min(kMaxKeyBytes, static_cast<std::size_t>(info.st_size)) : 0, '\0');
  const bool over = known && ::pwrite(fd.get(), zeros.data(), zeros.size(), 0) == static_cast<ssize_t>(zeros.size()) &&
                    ::fsync(fd.get()) == 0;
  if (!over || ::unlink(path.c_str()) != 0) return system_failure(errno, path, "cannot be removed");
  return {};
}

// Whether there is anything at all of that name; a dangling link is something.
Outcome<bool> exists(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT) return false;
  return system_failure(errno, path, "cannot be read");
}

Outcome<LoadedIdentity> load_or_generate(const std::string& state_dir, const IdentityStoreOptions& options) {
  const auto there = exists(identity_dir(state_dir));
  if (!there) return there.failure();
  if (!*there) {
    if (auto made = generate_identity(state_dir, options); !made) return made.failure();
  }
  return load_identity(state_dir, options.now_unix, options.sign);
}

}  // namespace

std::string identity_dir(const std::string& state_dir) {
  return state_dir + "/identity";
}

Outcome<LoadedIdentity> load_identity(const std::string& state_dir, std::int64_t now_unix, const AccountSigner& sign) {
  const std::string directory = identity_dir(state_dir) + "/";
  auto chain_pem = read_needed(directory + kChainFile, proto::CertificateChain::kMaxPemBytes);
  if (!chain_pem) return chain_pem.failure();
  auto device_key = read_needed(directory + kDeviceKeyFile, kMaxKeyBytes);
  if (!device_key) return device_key.failure();
  auto account_key = read_account_key(state_dir);
  if (!account_key) return account_key.failure();

  auto identity = proto::Identity::load(device_key->view(), chain_pem->view());
  if (!identity) {
    const bool of_key = identity.error() == proto::make_error_code(proto::Errc::kKeyUnreadable) ||
                        identity.error() == proto::make_error_code(proto::Errc::kKeyMismatch);
    return unusable(directory + (of_key ? kDeviceKeyFile : kChainFile), identity.error().message());
  }
  if (auto good = check_chain(directory + kChainFile, identity->chain, now_unix); !good) return good.failure();
  if (auto good = check_account_key(directory + kAccountKeyFile, *account_key, identity->chain); !good) {
    return good.failure();
  }
  LoadedIdentity loaded{
      *std::move(identity), *std::move(device_key), std::string(chain_pem->view()), !account_key->empty(), {}};
  if (loaded.has_account_key && sign) {
    loaded.signed_by_account = sign(account_key->view(), loaded.chain_pem);
  }
  return loaded;
}

Outcome<void> generate_identity(const std::string& state_dir, const IdentityStoreOptions& options) {
  const std::string target = identity_dir(state_dir);
  const auto there = exists(target);
  if (!there) return there.failure();
  if (*there) return system_failure(EEXIST, target, "an identity is never replaced");
  // Seconds of work for keys that could not be kept, at each start: the room for them comes first.
  const std::string room = state_dir + "/" + kRoomFile;
  if (auto kept = write_atomically(room, proto::ByteVector(kRoomBytes), 0600); !kept) return kept;
  proto::IdentityOptions wanted;
  wanted.rsa_bits = options.rsa_bits;
  wanted.validity = validity_from(options.now_unix);
  const auto made = proto::generate_identity(wanted);
  ::unlink(room.c_str());
  if (!made) return failure(std::errc::io_error, target + ": cannot be made: " + made.error().message());
  return write_identity(state_dir, *made);
}

bool waits_for_disk(const Failure& failure) {
  for (const int error : {ENOSPC, EDQUOT, EROFS}) {
    if (failure.code == std::error_code(error, std::generic_category())) return true;
  }
  return false;
}

proto::Validity validity_from(std::int64_t now_unix) {
  const std::int64_t now = std::max(now_unix, kEarliestUnix);
  return {now - kClockSkewSeconds, now + kValiditySeconds};
}

// ---- changes ----

Outcome<proto::SecretText> read_account_key(const std::string& state_dir) {
  auto account = read_secret(identity_dir(state_dir) + "/" + kAccountKeyFile, kMaxKeyBytes);
  if (!account) return account.failure();
  return *account ? std::move(**account) : proto::SecretText();
}

Outcome<AccountKeys> read_account_keys(const std::string& state_dir) {
  auto account = read_account_key(state_dir);
  if (!account) return account.failure();
  auto ca = read_secret(identity_dir(state_dir) + "/" + kCaKeyFile, kMaxKeyBytes);
  if (!ca) return ca.failure();
  return AccountKeys{*std::move(account), *ca ? std::move(**ca) : proto::SecretText()};
}

Outcome<void> write_account_keys(const std::string& state_dir, const AccountKeys& keys) {
  return write_some({{kAccountKeyFile, keys.account_pem.view()}, {kCaKeyFile, keys.ca_pem.view()}},
                    identity_dir(state_dir));
}

Outcome<void> remove_account_keys(const std::string& state_dir) {
  const std::string directory = identity_dir(state_dir);
  for (const char* name : {kAccountKeyFile, kCaKeyFile}) {
    const std::string path = directory + "/" + name;
    if (auto removed = shred(path); !removed) return removed;
  }
  return sync_directory(directory);
}

Outcome<void> replace_chain(const std::string& state_dir, const proto::SecretText& device_key_pem,
                            const proto::CertificateChain& current, const proto::CertificateChain& chain) {
  auto keys = read_account_keys(state_dir);
  if (!keys) return keys.failure();
  const bool same_account = chain.account_id() == current.account_id();
  const std::string pem = chain.pem();
  std::vector<IdentityFile> files{{kDeviceKeyFile, device_key_pem.view()}, {kChainFile, pem}};
  if (same_account) files.push_back({kAccountKeyFile, keys->account_pem.view()});
  if (same_account && chain.ca_id() == current.ca_id()) {
    files.push_back({kCaKeyFile, keys->ca_pem.view()});
  }
  const std::string target = identity_dir(state_dir);
  const std::string fresh = target + ".new";
  if (auto made = make_fresh(fresh, files); !made) return made;
  // In one step: a start in between would find no identity, and make another one.
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0) {
    return system_failure(errno, target, "cannot be replaced");
  }
  if (auto kept = keep_former(fresh, target); !kept) return kept;
  return sync_directory(state_dir);
}

void load_or_generate_identity(Loop& loop, const std::string& state_dir, const IdentityStoreOptions& options,
                               std::function<void(Outcome<LoadedIdentity>)> done) {
  // Two owners, the work and its end: libuv guarantees that they follow each other.
  auto result = std::make_shared<std::optional<Outcome<LoadedIdentity>>>();
  loop.post_work([result, state_dir, options] { *result = load_or_generate(state_dir, options); },
                 [result, done = std::move(done)] { done(std::move(**result)); });
}

}  // namespace connd::daemon
