// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/known_chains.h"

#include <ctime>

#include "proto/error.h"

namespace connd::daemon {

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
  return stores_.trust.remember(**chain);
}

Outcome<void> KnownChains::met(const proto::CertificateChain& chain) {
  const proto::DeviceId device = chain.device_id();
  // What it showed before comes first.
  if (auto remembered = remember(device); !remembered) return remembered;
  if (auto remembered = stores_.trust.remember(chain); !remembered) return remembered;
  facts_.erase(device);
  return stores_.certificates.put(chain);
}

/// What it makes of the device; nothing, when it is not valid.
Trust KnownChains::judge(const proto::DeviceId& device, const proto::CertificateChain& chain, Seen& seen) const {
  seen.any = true;
  const Trust trust = stores_.trust.of(device, chain.issuer_ids(), chain.short_device_id());
  if (const auto valid = chain.verify(clock_(), stores_.is_revoked()); !valid) {
    if (trust == Trust::kAllowed && !seen.fault) seen.fault = valid.error();
    return Trust::kUnknown;
  }
  (trust == Trust::kBanned ? seen.banned : seen.other) = true;
  return trust;
}

ChainWanted KnownChains::for_call(const proto::DeviceId& device, std::shared_ptr<Seen> seen) const {
  return [this, device, seen = std::move(seen)](const proto::CertificateChain& chain) {
    return !stores_.trust.has_chain_entries() || judge(device, chain, *seen) != Trust::kBanned;
  };
}

ChainWanted KnownChains::for_request(const proto::DeviceId& device, std::shared_ptr<Seen> seen) const {
  return [this, device, seen = std::move(seen)](const proto::CertificateChain& chain) {
    return judge(device, chain, *seen) == Trust::kAllowed;
  };
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
