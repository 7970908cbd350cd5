// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/request_gate.h"

#include <algorithm>
#include <iterator>

#include "daemon/trust/certificate_text.h"

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

/// Chains of requests that are on the pool: as many as can be opened at once (the DHT client's budget for strangers),
/// of 6 kB each.
constexpr std::size_t kMaxChecks = 256;

/// Between looks at whether a look-up is free: they come back at two a second, and end by themselves.
constexpr proto::Duration kWaitingPause = std::chrono::milliseconds(250);

RequestGate::Verdict too_many() {
  return refused(Trust::kUnknown, proto::Reason::kBusy, "too many unknown signers to look up");
}

proto::TokenBucket lookup_rate(const GateSettings& settings, proto::TimePoint now) {
  return {settings.lookups_per_minute * kTokensPerLookup, settings.lookups_per_minute, now};
}

}  // namespace

RequestGate::RequestGate(Loop& loop, Signalling& signalling, Stores& stores, KnownChains& chains,
                         ConnectionAsker& asker, proto::HandleSource& questions, const GateSettings& settings)
    : loop_(loop),
      signalling_(signalling),
      stores_(stores),
      chains_(chains),
      asker_(asker),
      questions_(questions),
      settings_(settings),
      announced_(loop, signalling, stores),
      waiting_timer_(loop, [this] { run_waiting(); }),
      lookup_rate_(lookup_rate(settings, loop.now())),
      timer_(loop, [this] { expire(); }) {}

void RequestGate::set_settings(const GateSettings& settings) {
  if (settings.lookups_per_minute != settings_.lookups_per_minute) lookup_rate_ = lookup_rate(settings, loop_.now());
  settings_ = settings;
}

void RequestGate::judge(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, proto::Bytes chain,
                        Done done) {
  const Trust own = stores_.trust.of(signer, {}, short_id);
  if (own == Trust::kBanned) return done(refused(own, proto::Reason::kBanned, "the device is banned"));
  const Trust trust = chains_.trust_of(signer, short_id);
  if (trust == Trust::kBanned) return done(refused(trust, proto::Reason::kBanned, "its account or CA is banned"));
  if (trust == Trust::kAllowed) return done(accepted(trust));
  // What its chain could change: it is below an account or CA that is allowed, which we do not know, or no more.
  if (!stores_.trust.has_chain_entries()) return by_policy(signer, {}, done);
  if (chain.empty()) return judge_unread(signer, short_id, std::move(done));
  if (checks_ >= kMaxChecks) return done(too_many());
  ++checks_;
  const auto read = std::make_shared<std::optional<CheckedChain>>();  // second owner: the pool
  loop_.post_work(
      [read, signer, der = proto::ByteVector(chain.begin(), chain.end()), now = chains_.unix_now()] {
        auto parsed = proto::CertificateChain::from_der(der);
        if (parsed && parsed->device_id() == signer) *read = CheckedChain::of(*std::move(parsed), now);
      },
      [this, alive = std::weak_ptr<int>(alive_), read, signer, short_id, done = std::move(done)] {
        if (alive.expired()) return;
        --checks_;
        judge_read(signer, short_id, *read, done);
      });
}

/// The trust list may have changed while the chain was read.
void RequestGate::judge_read(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id,
                             const std::optional<CheckedChain>& read, const Done& done) {
  const Trust trust = chains_.trust_of(signer, short_id);
  if (trust == Trust::kBanned) return done(refused(trust, proto::Reason::kBanned, "it, its account or CA is banned"));
  if (trust == Trust::kAllowed) return done(accepted(trust));
  if (!read) return judge_unread(signer, short_id, done);
  const KnownChains::Shown shown = chains_.shown(*read);
  if (shown.trust == Trust::kBanned) {
    return done(refused(Trust::kBanned, proto::Reason::kBanned, "its account or CA is banned"));
  }
  if (shown.trust == Trust::kAllowed) return done(accepted(Trust::kAllowed));
  by_policy(signer, shown.fault, done);
}

/// Whose request says nothing of itself.
void RequestGate::judge_unread(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done) {
  if (announced_.has(signer)) return done(accepted(Trust::kAllowed));
  look_up(signer, short_id, std::move(done));
}

void RequestGate::look_up(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done) {
  if (known_missing(signer)) return by_policy(signer, chains_.fault_of(signer), done);
  if (!waiting_.empty() || lookups_ >= settings_.max_lookups || !lookup_rate_.take(loop_.now(), kTokensPerLookup)) {
    return wait_for_lookup({signer, short_id, loop_.now() + settings_.waiting_time, std::move(done)});
  }
  begin_lookup(signer, short_id, std::move(done));
}

/// Whoever comes first has no better right than who comes later: strangers come first.
void RequestGate::wait_for_lookup(Waiting waiting) {
  std::optional<Waiting> gone;
  if (waiting_.size() >= std::max<std::size_t>(settings_.max_waiting_lookups, 1)) {
    Waiting& any = waiting_[std::uniform_int_distribution<std::size_t>(0, waiting_.size() - 1)(random_)];
    gone = std::exchange(any, std::move(waiting));
  } else {
    waiting_.push_back(std::move(waiting));
  }
  if (waiting_.size() == 1) waiting_timer_.arm_in(kWaitingPause);
  if (gone) gone->done(too_many());
}

/// As many as there are look-ups for, any of them; those that have waited long enough are refused.
void RequestGate::run_waiting() {
  while (!waiting_.empty() && lookups_ < settings_.max_lookups) {
    if (!lookup_rate_.take(loop_.now(), kTokensPerLookup)) break;
    std::swap(waiting_[std::uniform_int_distribution<std::size_t>(0, waiting_.size() - 1)(random_)], waiting_.back());
    Waiting next = std::move(waiting_.back());
    waiting_.pop_back();
    begin_lookup(next.signer, next.short_id, std::move(next.done));
  }
  const auto late = std::partition(waiting_.begin(), waiting_.end(),
                                   [now = loop_.now()](const Waiting& waiting) { return waiting.deadline > now; });
  std::vector<Waiting> over(std::make_move_iterator(late), std::make_move_iterator(waiting_.end()));
  waiting_.erase(late, waiting_.end());
  if (!waiting_.empty()) waiting_timer_.arm_in(kWaitingPause);
  for (const Waiting& waiting : over) waiting.done(too_many());
}

void RequestGate::begin_lookup(const proto::DeviceId& signer, const proto::ShortDeviceId& short_id, Done done) {
  ++lookups_;
  const auto seen = std::make_shared<KnownChains::Seen>();  // second owner: the search
  signalling_.find_chain(
      signer, short_id, loop_.now() + settings_.lookup_time, ChainUse::kRequest, chains_.for_request(seen),
      [this, signer, seen, done = std::move(done)](const std::optional<proto::CertificateChain>& chain) {
        // The trust list may have changed meanwhile.
        const bool allowed = chain && stores_.trust.of(*chain) == Trust::kAllowed;
        looked_up(signer, allowed, *seen, done);
      });
}

void RequestGate::looked_up(const proto::DeviceId& signer, bool allowed, const KnownChains::Seen& seen,
                            const Done& done) {
  --lookups_;
  if (!seen.any) remember_missing(signer);
  const Trust trust = chains_.trust_of(signer);
  if (trust == Trust::kBanned) return done(refused(trust, proto::Reason::kBanned, "the device is banned"));
  if (allowed || trust == Trust::kAllowed) return done(accepted(Trust::kAllowed));
  if (seen.bans()) return done(refused(Trust::kBanned, proto::Reason::kBanned, "its account or CA is banned"));
  by_policy(signer, seen.fault ? seen.fault : chains_.fault_of(signer), done);
}

/// `fault`: of a chain that would have allowed the device; said where it is refused.
void RequestGate::by_policy(const proto::DeviceId& signer, std::error_code fault, const Done& done) {
  if (settings_.policy == IceRequestPolicy::kAnyone) return done(accepted(Trust::kUnknown));
  if (settings_.policy == IceRequestPolicy::kTrusted) {
    if (fault) {
      return done(refused(Trust::kUnknown, proto::Reason::kBadCertificate,
                          certificate_fault_text(fault, fault.message(), std::nullopt, chains_.unix_now())));
    }
    return done(refused(Trust::kUnknown, proto::Reason::kNotPermitted, "the device is not allowed"));
  }
  if (asked_.size() >= settings_.max_questions) {
    return done(refused(Trust::kUnknown, proto::Reason::kBusy, "too many questions wait for an answer"));
  }
  const ConnectionAsker::Question question{questions_.take(), signer, chains_.account_of(signer),
                                           loop_.now() + settings_.ask_time};
  if (!asker_.ask_connection(question)) {
    return done(refused(Trust::kUnknown, proto::Reason::kNotPermitted, "no local client is there to decide"));
  }
  asked_.emplace(question.number, Asked{signer, question.deadline, done});
  arm();
}

bool RequestGate::answer(std::uint64_t question, bool accept, const char* why_not) {
  const auto it = asked_.find(question);
  if (it == asked_.end()) return false;
  const Asked asked = std::move(it->second);
  asked_.erase(it);
  arm();
  // What the answer did not know: the device may have been banned meanwhile, or allowed.
  const Trust trust = chains_.trust_of(asked.signer);
  if (trust == Trust::kBanned) {
    asked.done(refused(trust, proto::Reason::kBanned, "the device is banned"));
  } else if (accept) {
    asked.done(accepted(trust));
  } else {
    asked.done(refused(trust, proto::Reason::kDeclined, why_not));
  }
  return true;
}

void RequestGate::give_up_all() {
  while (!asked_.empty()) {
    asker_.connection_question_over(asked_.begin()->first);
    (void)answer(asked_.begin()->first, false, "the daemon is shutting down");
  }
}

void RequestGate::expire() {
  std::vector<std::uint64_t> over;
  for (const auto& [number, asked] : asked_) {
    if (asked.deadline <= loop_.now()) over.push_back(number);
  }
  for (const std::uint64_t number : over) {
    asker_.connection_question_over(number);
    (void)answer(number, false, "nobody here answered in time");
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
