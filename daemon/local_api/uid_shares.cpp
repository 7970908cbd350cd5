// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/uid_shares.h"

#include <algorithm>

namespace connd::daemon {

UidShares::User& UidShares::user(uid_t uid, Instant now) {
  const auto known = users_.find(uid);
  if (known != users_.end()) return known->second;
  if (users_.size() >= kMaxIdle) forget(now);
  User& fresh = users_[uid];
  fresh.since = now;
  return fresh;
}

void UidShares::forget(Instant now) {
  std::erase_if(users_, [now](const auto& entry) {
    const User& user = entry.second;
    return user.clients.empty() && user.credit + (now - user.since) >= Time{0};
  });
}

void UidShares::want(uid_t uid, ClientNumber client, Instant now) {
  if (!in_.insert(client).second) return;
  User& who = user(uid, now);
  who.clients.push_back(client);
  if (who.clients.size() > 1) return;
  who.credit = std::min(who.credit + (now - who.since), Time{0});
  ring_.push_back(uid);
}

void UidShares::leave(uid_t uid, ClientNumber client, Instant now) {
  if (in_.erase(client) == 0) return;
  User& who = users_.at(uid);
  std::erase(who.clients, client);
  if (!who.clients.empty()) return;
  std::erase(ring_, uid);
  // What was not used is lost: who comes seldom has no claim to a long turn.
  who.credit = std::min(who.credit, Time{0});
  who.since = now;
}

std::optional<UidShares::Turn> UidShares::next() {
  if (ring_.empty()) return std::nullopt;
  while (true) {
    for (std::size_t left = ring_.size(); left > 0; --left) {
      const uid_t uid = ring_.front();
      User& who = users_.at(uid);
      if (who.credit > Time{0}) {
        const ClientNumber client = who.clients.front();
        who.clients.pop_front();
        who.clients.push_back(client);
        return Turn{uid, client};
      }
      who.credit += kQuantum;
      ring_.pop_front();
      ring_.push_back(uid);
      if (ring_.size() == 1 || who.credit > Time{0}) continue;
      ++who.account.held_back;
      ++total_.held_back;
    }
    forgive();
  }
}

/// All rounds in which nobody could work, but the last, at once.
void UidShares::forgive() {
  Time best = -kMaxDebt;
  for (const uid_t uid : ring_) best = std::max(best, users_.at(uid).credit);
  if (best > Time{0}) return;
  const auto rounds = -best / kQuantum;
  for (const uid_t uid : ring_) users_.at(uid).credit += rounds * kQuantum;
}

void UidShares::charge(uid_t uid, Time spent, Instant now) {
  User& who = user(uid, now);
  if (who.clients.empty()) {  // a debt from here on
    who.credit = std::min(who.credit + (now - who.since), Time{0});
    who.since = now;
  }
  who.credit = std::max(who.credit - spent, -kMaxDebt);
  who.account.spent += spent;
  total_.spent += spent;
}

UidShares::Account UidShares::account(uid_t uid) const {
  const auto known = users_.find(uid);
  return known == users_.end() ? Account{} : known->second.account;
}

}  // namespace connd::daemon
