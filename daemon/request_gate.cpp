// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/request_gate.h"

#include <algorithm>
#include <ctime>

namespace connd::daemon {
namespace {

RequestGate::Verdict accepted(Trust trust) {
  return {true, trust, proto::Reason::kClosed, {}};
}
RequestGate::Verdict refused(Trust trust, proto::Reason reason, std::string text) {
  return {false, trust, reason, std::move(text)};
}
// The bucket counts in half lookups, so that 30 a minute is a whole number a second.
constexpr std::uint32_t kTokensPerLookup = 60;

proto::TokenBucket lookup_rate(const GateSettings& settings, proto::TimePoint now) {
  return {settings.lookups_per_minute * kTokensPerLookup, settings.lookups_per_minute, now};
}

}  // namespace

RequestGate::RequestGate(Loop& loop, Signalling& signalling, Stores& stores, ConnectionAsker& asker,
                         proto::HandleSource& questions, const GateSettings& settings)
    : loop_(loop),
      signalling_(signalling),
      stores_(stores),
      asker_(asker),
      questions_(questions),
      settings_(settings),
      lookup_rate_(lookup_rate(settings, loop.now())),
      timer_(loop, [this] { expire(); }) {}

void RequestGate::set_settings(const GateSettings& settings) {
  if (settings.lookups_per_minute != settings_.lookups_per_minute) lookup_rate_ = lookup_rate(settings, loop_.now());
  settings_ = settings;
}

Trust RequestGate::trust_of(const proto::DeviceId& device) {
  const Trust own = stores_.trust.of(device);
  if (own == Trust::kBanned || !stores_.trust.has_chain_entries()) return own;
  const auto chain = stores_.certificates.find(device);
  if (!chain || !*chain) return own;
  return stores_.trust.of(device, (*chain)->issuer_ids());
}

void RequestGate::judge(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done) {
  const Trust own = stores_.trust.of(signer);
  if (own == Trust::kBanned) return done(refused(own, proto::Reason::kBanned, "the device is banned"));
  if (own == Trust::kAllowed && !stores_.trust.has_chain_entries()) return done(accepted(own));
  auto known = stores_.certificates.find(signer);
  if (known && *known && !may_have_moved(signer, **known)) return with_chain(signer, *known, done);
  if (own == Trust::kAllowed) return done(accepted(own));  // bans above it are found out by TLS at the latest
  if (!stores_.trust.has_chain_entries()) return by_policy(signer, std::nullopt, done);
  look_up(signer, short_id, std::move(done));
}

/// A device may have joined an account that is trusted since its chain was stored. That is worth a lookup where it
/// would be refused otherwise.
bool RequestGate::may_have_moved(const proto::DeviceId& signer, const proto::CertificateChain& known) const {
  return settings_.policy == IceRequestPolicy::kTrusted && stores_.trust.has_chain_entries() &&
         stores_.trust.of(signer, known.issuer_ids()) == Trust::kUnknown;
}

void RequestGate::look_up(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done) {
  if (known_missing(signer)) return by_policy(signer, std::nullopt, done);
  if (lookups_ >= settings_.max_lookups || !lookup_rate_.take(loop_.now(), kTokensPerLookup)) {
    return done(refused(Trust::kUnknown, proto::Reason::kBusy, "too many unknown signers to look up"));
  }
  ++lookups_;
  // What allows the device ends the search; what bans it says more than a chain of nobody's.
  ChainJudge judge = [this, signer](const proto::CertificateChain& chain) {
    const auto now = static_cast<std::int64_t>(std::time(nullptr));
    const Trust trust = stores_.trust.of(signer, chain.issuer_ids());
    if (trust == Trust::kUnknown || !chain.verify(now, stores_.is_revoked())) return ChainWorth::kLittle;
    return trust == Trust::kAllowed ? ChainWorth::kEnough : ChainWorth::kMore;
  };
  signalling_.find_certificate(signer, short_id, loop_.now() + settings_.lookup_time, std::move(judge),
                               [this, signer, done = std::move(done)](const auto& chain) {
                                 --lookups_;
                                 if (!chain) remember_missing(signer);
                                 with_chain(signer, chain, done);
                               });
}

void RequestGate::with_chain(const proto::DeviceId& signer, const std::optional<proto::CertificateChain>& chain,
                             const Done& done) {
  Trust trust = stores_.trust.of(signer);
  if (chain) {
    const auto valid = chain->verify(static_cast<std::int64_t>(std::time(nullptr)), stores_.is_revoked());
    if (!valid) return done(refused(trust, proto::Reason::kBadCertificate, valid.error().message()));
    trust = stores_.trust.of(signer, chain->issuer_ids());
  }
  if (trust == Trust::kBanned) return done(refused(trust, proto::Reason::kBanned, "its account or CA is banned"));
  if (trust == Trust::kAllowed) return done(accepted(trust));
  by_policy(signer, chain, done);
}

void RequestGate::by_policy(const proto::DeviceId& signer, const std::optional<proto::CertificateChain>& chain,
                            const Done& done) {
  if (settings_.policy == IceRequestPolicy::kAnyone) return done(accepted(Trust::kUnknown));
  if (settings_.policy == IceRequestPolicy::kTrusted) {
    return done(refused(Trust::kUnknown, proto::Reason::kNotPermitted, "the device is not allowed"));
  }
  if (asked_.size() >= settings_.max_questions) {
    return done(refused(Trust::kUnknown, proto::Reason::kBusy, "too many questions wait for an answer"));
  }
  ConnectionAsker::Question question{questions_.take(), signer, std::nullopt};
  if (chain) question.account = chain->account_id();
  if (!asker_.ask_connection(question)) {
    return done(refused(Trust::kUnknown, proto::Reason::kNotPermitted, "nobody is there to decide"));
  }
  asked_.emplace(question.number, Asked{signer, loop_.now() + settings_.ask_time, done});
  arm();
}

bool RequestGate::answer(std::uint64_t question, bool accept) {
  const auto it = asked_.find(question);
  if (it == asked_.end()) return false;
  const Asked asked = std::move(it->second);
  asked_.erase(it);
  arm();
  // What the answer did not know: the device may have been banned meanwhile, or allowed.
  const Trust trust = trust_of(asked.signer);
  if (trust == Trust::kBanned) {
    asked.done(refused(trust, proto::Reason::kBanned, "the device is banned"));
  } else if (accept) {
    asked.done(accepted(trust));
  } else {
    asked.done(refused(trust, proto::Reason::kDeclined, "the local client declined"));
  }
  return true;
}

void RequestGate::decline_all() {
  while (!asked_.empty()) (void)answer(asked_.begin()->first, false);
}

void RequestGate::give_up_all() {
  while (!asked_.empty()) {
    asker_.connection_question_over(asked_.begin()->first);
    (void)answer(asked_.begin()->first, false);
  }
}

void RequestGate::expire() {
  std::vector<std::uint64_t> over;
  for (const auto& [number, asked] : asked_) {
    if (asked.deadline <= loop_.now()) over.push_back(number);
  }
  for (const std::uint64_t number : over) {
    asker_.connection_question_over(number);
    (void)answer(number, false);
  }
  arm();
}

void RequestGate::arm() {
  proto::TimePoint next = proto::kNever;
  for (const auto& [number, asked] : asked_) next = std::min(next, asked.deadline);
  timer_.arm(next);
}

void RequestGate::remember_missing(const proto::DeviceId& signer) {
  if (missing_index_.count(signer) != 0) return;
  if (missing_.size() >= settings_.max_negative) {
    missing_index_.erase(missing_.front().second);
    missing_.pop_front();
  }
  missing_.emplace_back(loop_.now(), signer);
  missing_index_[signer] = std::prev(missing_.end());
}

bool RequestGate::known_missing(const proto::DeviceId& signer) {
  while (!missing_.empty() && loop_.now() - missing_.front().first > settings_.negative_time) {
    missing_index_.erase(missing_.front().second);
    missing_.pop_front();
  }
  return missing_index_.count(signer) != 0;
}

}  // namespace connd::daemon
