// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/revocation_sync.h"

#include <algorithm>

#include <spdlog/spdlog.h>

namespace connd::daemon {
namespace {

std::string record_of(const proto::AccountId& account) {
  return "jami-connd:revoked:" + account.hex();
}

}  // namespace

RevocationSync::RevocationSync(Loop& loop, Signalling& signalling, Stores& stores, std::function<void()> changed)
    : loop_(loop), signalling_(signalling), stores_(stores), changed_(std::move(changed)), timer_(loop, [this] {
        look_up_all();
      }) {
  timer_.arm_in(kInterval);
}

void RevocationSync::met(const proto::CertificateChain& chain) {
  auto issuers = chain.issuers();
  if (!issuers) return;  // a leaf alone has no account that could revoke it
  const proto::AccountId id = chain.account_id();
  const auto known = accounts_.find(id);
  if (known != accounts_.end()) {
    known->second.met = loop_.now();
    known->second.issuers = *std::move(issuers);
  } else {
    if (accounts_.size() >= kMaxAccounts) {
      accounts_.erase(std::min_element(accounts_.begin(), accounts_.end(),
                                       [](const auto& a, const auto& b) { return a.second.met < b.second.met; }));
    }
    const auto added = accounts_.emplace(id, Account{*std::move(issuers), loop_.now()}).first;
    put_newest(id, added->second);
  }
  look_up(id);
}

void RevocationSync::lists_changed() {
  for (const auto& [id, account] : accounts_) put_newest(id, account);
}

void RevocationSync::look_up_all() {
  timer_.arm_in(kInterval);
  std::vector<proto::AccountId> all;
  for (const auto& [id, account] : accounts_) all.push_back(id);
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

void RevocationSync::found(const proto::AccountId& id, const std::vector<proto::ByteVector>& lists) {
  const auto it = accounts_.find(id);
  if (it == accounts_.end()) return;
  Account& account = it->second;
  account.answered = loop_.now();
  bool news = false;
  for (const proto::ByteVector& der : lists) {
    if (der.size() > kMaxListBytes) continue;
    const auto list = proto::RevocationList::from_der(der);
    if (!list) continue;
    const auto learnt = stores_.crls.learn(*list, *account.issuers.certificate(0));
    if (!learnt) {
      spdlog::warn("a revocation list of account={} cannot be kept: {}", id.hex(), learnt.failure().text);
    } else if (*learnt) {
      spdlog::info("account={} has revoked certificates: list={} number={}", id.hex(), list->id(), *list->number());
      news = true;
    }
  }
  put_newest(id, account);
  if (news) changed_();  // may end in met(): nothing is touched after it
}

void RevocationSync::put_newest(const proto::AccountId& id, const Account& account) {
  const proto::RevocationList* newest = stores_.crls.newest_of(*account.issuers.certificate(0));
  if (newest == nullptr) return;
  const proto::ByteVector der = newest->der();
  if (der.size() <= kMaxListBytes) signalling_.publish(record_of(id), der);
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
