// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/known_chains.h"

#include <ctime>

#include "proto/error.h"

namespace connd::daemon {

using proto::CertificateChain;

KnownChains::KnownChains(Stores& stores, Clock clock) : stores_(stores), clock_(std::move(clock)) {
  if (!clock_) clock_ = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
}

Trust KnownChains::trust_of(const proto::DeviceId& device, const std::optional<proto::ShortDeviceId>& short_id) {
  const Trust own = stores_.trust.of(device, {}, short_id);
  if (own == Trust::kBanned || !stores_.trust.has_chain_entries()) return own;
  const Facts* facts = facts_of(device);
  if (facts == nullptr) return own;
  const Trust by_chain = stores_.trust.of(device, facts->issuers, facts->short_id);
  return by_chain == Trust::kBanned || !fault_now(*facts) ? by_chain : own;
}

std::optional<proto::AccountId> KnownChains::account_of(const proto::DeviceId& device) {
  const Facts* facts = facts_of(device);
  if (facts == nullptr || fault_now(*facts)) return std::nullopt;
  return facts->issuers.front();
}

std::error_code KnownChains::fault_of(const proto::DeviceId& device) {
  const Facts* facts = facts_of(device);
  return facts != nullptr ? fault_now(*facts) : std::error_code();
}

std::optional<proto::ByteVector> KnownChains::key_of(const proto::DeviceId& device) {
  const auto chain = stores_.certificates.find(device);
  if (!chain || !*chain) return std::nullopt;
  return (*chain)->public_key_der();
}

Outcome<void> KnownChains::remember(const proto::DeviceId& device) {
  const auto chain = stores_.certificates.find(device);
  if (!chain || !*chain) return {};
  return remember(**chain);
}

/// With the chain itself: its account may revoke it later.
Outcome<void> KnownChains::remember(const proto::CertificateChain& chain) {
  if (auto remembered = stores_.trust.remember(chain); !remembered) return remembered;
  const proto::DeviceId device = chain.device_id();
  const FirstMet* first = stores_.trust.first_met(device);
  if (first == nullptr || !first->is_of(chain.account_id())) return {};
  const auto kept = stores_.first_met.find(device);
  if (kept && *kept && **kept == chain) return {};
  return stores_.first_met.put(chain);
}

std::optional<CertificateChain> KnownChains::former_chain(const CertificateChain& shown) {
  const proto::DeviceId device = shown.device_id();
  const FirstMet* first = stores_.trust.first_met(device);
  if (first == nullptr || first->is_of(shown.account_id())) return std::nullopt;
  auto kept = stores_.first_met.find(device);
  // What was kept may be of an entry that was there before this one.
  if (!kept || !*kept || !first->is_of((*kept)->account_id())) return std::nullopt;
  return **std::move(kept);
}

bool KnownChains::taken_back(const CertificateChain& shown) {
  if (stores_.crls.list().empty()) return false;
  const auto former = former_chain(shown);
  return former && former->has_revoked(stores_.is_revoked());
}

Outcome<void> KnownChains::met(const proto::CertificateChain& chain) {
  const proto::DeviceId device = chain.device_id();
  // What it showed before comes first.
  if (auto remembered = remember(device); !remembered) return remembered;
  if (auto remembered = remember(chain); !remembered) return remembered;
  facts_.erase(device);
  return stores_.certificates.put(chain);
}

/// The loop's part of it, which costs a look into the lists.
std::error_code KnownChains::fault_of(const CheckedChain& checked) const {
  if (checked.fault || !checked.chain.has_revoked(stores_.is_revoked())) return checked.fault;
  return proto::make_error_code(proto::Errc::kCertificateRevoked);
}

/// What it makes of the device; nothing, when it is not valid.
Trust KnownChains::judge(const CheckedChain& checked, Seen& seen) const {
  seen.any = true;
  const Trust trust = stores_.trust.of(checked.chain);
  if (const std::error_code fault = fault_of(checked)) {
    if (trust == Trust::kAllowed && !seen.fault) seen.fault = fault;
    return Trust::kUnknown;
  }
  (trust == Trust::kBanned ? seen.banned : seen.other) = true;
  return trust;
}

KnownChains::Shown KnownChains::shown(const CheckedChain& checked) const {
  Shown out{stores_.trust.of(checked.chain), {}};
  if (out.trust == Trust::kUnknown) return out;
  out.fault = fault_of(checked);
  if (out.fault && out.trust == Trust::kAllowed) {
    out.trust = stores_.trust.of(checked.chain.device_id(), {}, checked.chain.short_device_id());
  }
  return out;
}

ChainWanted KnownChains::for_call(std::shared_ptr<Seen> seen) const {
  return [this, seen = std::move(seen)](const CheckedChain& checked) {
    return !stores_.trust.has_chain_entries() || judge(checked, *seen) != Trust::kBanned;
  };
}

ChainWanted KnownChains::for_request(std::shared_ptr<Seen> seen) const {
  return
      [this, seen = std::move(seen)](const CheckedChain& checked) { return judge(checked, *seen) == Trust::kAllowed; };
}

const KnownChains::Facts* KnownChains::facts_of(const proto::DeviceId& device) {
  // The store forgets by itself: what is not there any more is not known.
  if (!stores_.certificates.contains(device)) return nullptr;
  const auto known = facts_.find(device);
  if (known != facts_.end() && known->second.crl_change == stores_.crls.change()) return &known->second;
  const auto chain = stores_.certificates.find(device);
  if (!chain || !*chain) return nullptr;
  if (facts_.size() >= CertificateStore::kMaxChains) facts_.clear();
  return &(facts_[device] = facts_in(**chain));
}

/// What holds at any time; dates are compared when it is asked.
KnownChains::Facts KnownChains::facts_in(const proto::CertificateChain& chain) const {
  Facts facts;
  facts.issuers = chain.issuer_ids();
  facts.short_id = chain.short_device_id();
  facts.crl_change = stores_.crls.change();
  const auto dates = chain.validity();
  if (!dates) {
    facts.fault = dates.error();
    return facts;
  }
  facts.dates = *dates;
  if (const auto valid = chain.verify(dates->from_unix, stores_.is_revoked()); !valid) facts.fault = valid.error();
  return facts;
}

std::error_code KnownChains::fault_now(const Facts& facts) const {
  const std::int64_t now = clock_();
  if (facts.fault) return facts.fault;
  if (now < facts.dates.from_unix) return proto::make_error_code(proto::Errc::kCertificateNotYetValid);
  if (now >= facts.dates.until_unix) return proto::make_error_code(proto::Errc::kCertificateExpired);
  return {};
}

}  // namespace connd::daemon
