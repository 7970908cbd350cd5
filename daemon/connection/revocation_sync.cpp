// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/revocation_sync.h"

#include <algorithm>

#include <spdlog/spdlog.h>

namespace connd::daemon {
namespace {

std::string record_of(const proto::AccountId& account) {
  return "jami-connd:revoked:" + account.hex();
}

}  // namespace

RevocationSync::RevocationSync(Loop& loop, Signalling& signalling, Stores& stores, std::function<void()> changed)
    : loop_(loop),
      signalling_(signalling),
      stores_(stores),
      changed_(std::move(changed)),
      to_take_up_(stores.revokers.devices()),
      timer_(loop, [this] { look_up_all(); }),
      take_up_timer_(loop, [this] { take_up_next(); }) {
  timer_.arm_in(kInterval);
  if (!to_take_up_.empty()) take_up_timer_.arm_in(kTakeUpPause);
}

void RevocationSync::meet(const proto::CertificateChain& chain, proto::TimePoint when) {
  const auto issuers = chain.issuers();
  if (!issuers) return;  // a leaf alone has no account that could revoke it
  const proto::AccountId id = chain.account_id();
  const bool known = accounts_.contains(id);
  Account& account = add(*issuers, when);
  if (!known) put_newest(id, account);
  look_up(id);
}

/// In place of what is known of it, but for the times.
RevocationSync::Account& RevocationSync::add(const proto::CertificateChain& issuers, proto::TimePoint when) {
  proto::AccountId id;
  id.bytes = issuers.short_device_id().bytes;
  const auto known = accounts_.find(id);
  if (known != accounts_.end()) {
    known->second.met = std::max(known->second.met, when);
    known->second.issuers = issuers;
    return known->second;
  }
  if (accounts_.size() >= kMaxAccounts) {
    accounts_.erase(std::min_element(accounts_.begin(), accounts_.end(),
                                     [](const auto& a, const auto& b) { return a.second.met < b.second.met; }));
  }
  return accounts_.emplace(id, Account{issuers, when}).first->second;
}

/// One at a time: what is here since an earlier start is put, and asked about, as if a device had come.
void RevocationSync::take_up_next() {
  const proto::DeviceId key = to_take_up_.back();
  to_take_up_.pop_back();
  if (!to_take_up_.empty()) take_up_timer_.arm_in(kTakeUpPause);
  const auto issuers = stores_.revokers.find(key);
  if (!issuers || !*issuers) return;
  proto::AccountId id;
  id.bytes = (*issuers)->short_device_id().bytes;
  if (accounts_.contains(id)) return;
  put_newest(id, add(**issuers, loop_.now()));
  look_up(id);
}

void RevocationSync::lists_changed() {
  for (auto& [id, account] : accounts_) put_newest(id, account);
}

void RevocationSync::look_up_all() {
  bool all_answered = true;
  std::vector<proto::AccountId> all;
  for (const auto& [id, account] : accounts_) {
    all.push_back(id);
    all_answered = all_answered && account.answered;
  }
  timer_.arm_in(all_answered ? kInterval : kRetry);
  for (const proto::AccountId& id : all) look_up(id);
}

void RevocationSync::look_up(const proto::AccountId& id) {
  Account& account = accounts_.at(id);
  const proto::TimePoint now = loop_.now();
  if (account.asked && now - *account.asked < kAskAgain) return;
  account.asked = now;
  signalling_.find_published(
      record_of(id), now + kSearchTime,
      [this, id, alive = std::weak_ptr<int>(alive_)](const std::vector<proto::ByteVector>& lists) {
        if (!alive.expired()) found(id, lists);
      });
}

void RevocationSync::Reading::run() {
  const X509& account = *issuers.certificate(0);
  for (const proto::ByteVector& der : ders) {
    if (der.size() > kMaxListBytes) continue;
    auto list = proto::RevocationList::from_der(der);
    if (list && list->number() && list->is_signed_by(account)) genuine.push_back(*std::move(list));
  }
  std::sort(genuine.begin(), genuine.end(), [](const auto& a, const auto& b) { return *a.number() < *b.number(); });
}

/// Anybody may have put them there, and a signature takes as long as it takes.
void RevocationSync::found(const proto::AccountId& id, const std::vector<proto::ByteVector>& lists) {
  const auto it = accounts_.find(id);
  if (it == accounts_.end()) return;
  if (lists.empty() && !signalling_.online()) {  // nobody was asked
    if (!it->second.answered) timer_.arm_in(kRetry);
    return;
  }
  if (lists.empty()) return learn(id, {});
  auto reading = std::make_shared<Reading>(Reading{it->second.issuers, lists});  // second owner: the pool
  loop_.post_work([reading] { reading->run(); },
                  [this, id, reading, alive = std::weak_ptr<int>(alive_)] {
                    if (!alive.expired()) learn(id, reading->genuine);
                  });
}

void RevocationSync::learn(const proto::AccountId& id, const std::vector<proto::RevocationList>& lists) {
  const auto it = accounts_.find(id);
  if (it == accounts_.end()) return;
  Account& account = it->second;
  account.answered = loop_.now();
  bool news = false;
  for (const proto::RevocationList& list : lists) {
    // Whatever was learnt meanwhile: only a greater number is taken.
    const auto learnt = stores_.crls.learn_genuine(list, *account.issuers.certificate(0));
    if (!learnt) {
      spdlog::warn("a revocation list of account={} cannot be kept: {}", id.hex(), learnt.failure().text);
    } else if (*learnt) {
      spdlog::info("account={} has revoked certificates: list={} number={}", id.hex(), list.id(), *list.number());
      news = true;
    }
  }
  put_newest(id, account);
  if (news) changed_();  // may end in met(): nothing is touched after it
}

void RevocationSync::put_newest(const proto::AccountId& id, Account& account) {
  const proto::RevocationList* newest = stores_.crls.newest_of(*account.issuers.certificate(0));
  if (newest == nullptr) return;
  if (!stores_.revokers.contains(account.issuers.device_id())) {
    if (const auto kept = stores_.revokers.put(account.issuers); !kept) {
      spdlog::warn("the certificate of account={} cannot be kept: {}", id.hex(), kept.failure().text);
    }
  }
  const proto::ByteVector der = newest->der();
  const bool too_long = der.size() > kMaxListBytes;
  if (too_long && !account.too_long) {
    spdlog::warn("the revocation list of account={} has {} bytes: too long for the DHT, which takes {}", id.hex(),
                 der.size(), kMaxListBytes);
  }
  account.too_long = too_long;
  if (!too_long) signalling_.publish(record_of(id), der);
}

std::vector<proto::AccountId> RevocationSync::too_long() const {
  std::vector<proto::AccountId> out;
  for (const auto& [id, account] : accounts_) {
    if (account.too_long) out.push_back(id);
  }
  return out;
}

std::optional<proto::TimePoint> RevocationSync::oldest_answer() const {
  std::optional<proto::TimePoint> oldest;
  for (const auto& [id, account] : accounts_) {
    if (!account.answered) continue;
    oldest = oldest ? std::min(*oldest, *account.answered) : *account.answered;
  }
  return oldest;
}

}  // namespace connd::daemon
