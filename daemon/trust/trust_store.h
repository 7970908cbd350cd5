// SPDX-License-Identifier: GPL-3.0-or-later
/// TrustStore: which devices, accounts and CAs are allowed or banned. What is in no entry is unknown.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/system/json_file.h"
#include "daemon/system/outcome.h"
#include "daemon/trust/trust_scope.h"
#include "daemon/trust/unsaved.h"
#include "proto/certificate_chain.h"
#include "proto/device_id.h"

namespace connd::daemon {

enum class Trust : std::uint8_t { kUnknown, kAllowed, kBanned };
/// Of what is allowed. What is banned by an id of 40 digits is the key that has it, whichever of the two kinds it was
/// banned as: an account's, a CA's, or a device's, by its short id.
enum class TrustKind : std::uint8_t { kDevice, kAccount, kCa };

/// "unknown", "allowed", "banned"; as API, events and the file name them.
std::string_view name_of(Trust trust);
/// "device", "account", "ca".
std::string_view name_of(TrustKind kind);
std::optional<TrustKind> trust_kind_from(std::string_view name);

/// Whom an entry is about.
class TrustSubject {
 public:
  explicit TrustSubject(const proto::DeviceId& device);
  /// `kind` is kAccount or kCa.
  TrustSubject(TrustKind kind, const proto::AccountId& issuer);
  /// From 64 hex digits (device) or 40 (account, CA). Failure: anything else.
  static Outcome<TrustSubject> parse(TrustKind kind, std::string_view hex);

  [[nodiscard]] TrustKind kind() const { return kind_; }
  [[nodiscard]] std::string id() const;  ///< hex, lower case
  friend auto operator<=>(const TrustSubject&, const TrustSubject&) = default;

 private:
  TrustKind kind_;
  std::array<std::uint8_t, proto::DeviceId::kBytes> bytes_{};  // of 40 digits: the first 20
};

/// What a device was when it was met first: its ids of 40 digits. It can show the chain of another account whenever it
/// likes; what bans the first one goes on meaning it.
struct FirstMet {
  proto::AccountId short_id;              ///< the device's own
  std::vector<proto::AccountId> issuers;  ///< the account's first; as many as a chain has at most

  static FirstMet of(const proto::CertificateChain& chain);
  /// Whether an id, in hex, is one of them.
  [[nodiscard]] bool has(std::string_view id) const;
  [[nodiscard]] bool is_of(const proto::AccountId& account) const {
    return !issuers.empty() && issuers.front() == account;
  }
  friend bool operator==(const FirstMet&, const FirstMet&) = default;
};

struct TrustEntry {
  TrustSubject subject;
  Trust state;              ///< allowed or banned; unknown when a newer version wrote it
  std::int64_t since_unix;  ///< seconds since 1970, when it got this state
  TrustScope scope{};       ///< of what is allowed: for which uris
  /// Of a device that has been met since.
  std::optional<FirstMet> first_met = std::nullopt;
  /// What of `first_met` is banned, if the device's own entry is not.
  std::optional<proto::AccountId> banned_by = std::nullopt;
};

/// Movable until it has a disk; used on one thread, the loop's. Changes are in force when they return; the disk follows
/// (when_stored). What it could not take is taken back, here too.
class TrustStore {
 public:
  /// One entry is about 130 bytes of JSON, and 300 once its device has been met: both bounds meet at the same size.
  static constexpr std::size_t kMaxEntries = 100'000;
  static constexpr std::size_t kMaxFileBytes = 32 * 1024 * 1024;

  /// Reads `path`; no file means no entries. Failures: the file cannot be read, or anything in it is not understood:
  /// a ban is never dropped silently. An entry that has all that is known here, and more, is a newer version's: a ban
  /// is one, what is allowed counts as unknown (Trust::kUnknown in list()), and both stay on the disk as they are.
  static Outcome<TrustStore> open(std::string path);

  /// Who is to write from now on; without one each change waits for the disk. It and this stay where they are.
  /// `taken_back` is called after something had to be: whoever acts on what this says does so anew.
  void use(StateDisk& disk, std::function<void()> taken_back);

  /// In force when they return ok; on failure nothing has changed: too many entries, or changes that wait for the disk,
  /// or, without a StateDisk, the disk. Setting the state and scope that an entry has keeps its time and writes
  /// nothing.
  Outcome<void> allow(const TrustSubject& subject, std::int64_t now_unix, TrustScope scope = {}) {
    return set(subject, Trust::kAllowed, now_unix, std::move(scope));
  }
  Outcome<void> ban(const TrustSubject& subject, std::int64_t now_unix) {
    return set(subject, Trust::kBanned, now_unix, {});
  }
  /// Makes the subject unknown; false when it was.
  Outcome<bool> unset(const TrustSubject& subject);

  /// Writes down what the device was when it was met, unless it is known already, or the device has no entry. As the
  /// others. Whoever unsets the entry and allows the device again has it forgotten.
  Outcome<void> remember(const proto::CertificateChain& chain);

  /// Calls `done` once all changes so far are on the disk, maybe at once; or have been taken back, then with why.
  void when_stored(StateDisk::Done done) { unsaved_.when_stored(std::move(done)); }

  /// What is remembered with a device's entry; null while there is nothing. Valid until the next change.
  [[nodiscard]] const FirstMet* first_met(const proto::DeviceId& device) const;

  /// Trust in a device by its own entry alone, and what is remembered there; costs no chain.
  [[nodiscard]] Trust of(const proto::DeviceId& device) const { return of(device, {}); }
  /// Trust in a device whose chain is known. `issuers` are the key ids above the device, the account's first, as
  /// CertificateChain::issuer_ids gives them; `short_id` is its own, where it is known. Banned if any of them is, or
  /// the device, or what it was when it was met first: a ban of 40 digits means the key that has that id, whatever kind
  /// it was given. Else allowed if the device, its account or a CA above it is; else unknown.
  [[nodiscard]] Trust of(const proto::DeviceId& device, std::span<const proto::AccountId> issuers,
                         const std::optional<proto::ShortDeviceId>& short_id = std::nullopt) const;
  /// The same of what is in the chain, which need not be valid.
  [[nodiscard]] Trust of(const proto::CertificateChain& chain) const;
  /// For which uris the device of the chain is trusted, if it is: as its most specific entry says, alone. That is its
  /// own, else its account's, else that of the lowest CA that is allowed. Scopes are never added up: who narrows one
  /// device of an account means it.
  [[nodiscard]] TrustScope scope_of(const proto::CertificateChain& chain) const;
  [[nodiscard]] bool allows_account(const proto::AccountId& id) const {
    return allowed({TrustKind::kAccount, id}) != nullptr && !bans(id);
  }
  /// Whether a ban means the key of this id of 40 digits.
  [[nodiscard]] bool bans(const proto::AccountId& id) const;
  /// Whether there is an entry of 40 digits: without one, a chain cannot change what `of(device)` says.
  [[nodiscard]] bool has_chain_entries() const { return chain_entries_ > 0; }

  /// What its own entry says, alone.
  [[nodiscard]] Trust state_of(const TrustSubject& subject) const;
  /// By kind, then id.
  [[nodiscard]] std::vector<TrustEntry> list() const { return list(std::nullopt, kMaxEntries); }
  /// The same of at most so many behind this one.
  [[nodiscard]] std::vector<TrustEntry> list(const std::optional<TrustSubject>& after, std::size_t most) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct State {
    Trust trust;
    std::int64_t since_unix;
    TrustScope scope{};
    std::optional<FirstMet> first_met{};
    std::string kept{};  ///< the entry as a newer version wrote it, with more than is known here
  };

  friend class Unsaved<TrustStore, TrustSubject, State>;

  explicit TrustStore(std::string path);
  Outcome<void> set(const TrustSubject& subject, Trust trust, std::int64_t now_unix, TrustScope scope);
  Outcome<void> read(const nlohmann::json& entry);
  Outcome<void> replace(const TrustSubject& subject, std::optional<State> state);
  void put_back(const TrustSubject& subject, std::optional<State> state);
  [[nodiscard]] StateDisk::Work writing() const;
  static nlohmann::json to_json(const TrustSubject& subject, const State& state);
  void taken_back(const Failure& why);
  [[nodiscard]] const State* allowed(const TrustSubject& subject) const;
  [[nodiscard]] std::optional<proto::AccountId> ban_of(const FirstMet& met) const;

  JsonFile file_;
  std::map<TrustSubject, State> entries_;
  std::size_t chain_entries_ = 0;
  Unsaved<TrustStore, TrustSubject, State> unsaved_;
  std::function<void()> taken_back_;
};

}  // namespace connd::daemon
