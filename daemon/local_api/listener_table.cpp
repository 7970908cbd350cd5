// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/listener_table.h"

#include <algorithm>

namespace connd::daemon {
namespace {

std::size_t common_length(std::string_view a, std::string_view b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::size_t>(end - a.begin());
}

}  // namespace

bool Listener::takes_unknown(const proto::DeviceId& device) const {
  return any_peer || std::find(peers.begin(), peers.end(), device) != peers.end();
}

bool Listener::is_for(const proto::DeviceId& device, const proto::AccountId& account) const {
  if (only_devices.empty() && only_accounts.empty()) return true;
  return std::find(only_devices.begin(), only_devices.end(), device) != only_devices.end() ||
         std::find(only_accounts.begin(), only_accounts.end(), account) != only_accounts.end();
}

std::optional<ListenerTable::Refusal> ListenerTable::refusal(const Listener& listener, bool administrator) const {
  if (!permitted(listener.uri, listener.owner)) return Refusal::kReserved;
  const auto has = of_client_.find(listener.client);
  const bool room = (has != of_client_.end() ? has->second.size() : 0) < limits_.per_client &&
                    by_number_.size() < limits_.in_all && listener.uri.size() <= limits_.name_bytes - name_bytes_;
  if (!room) return Refusal::kTooMany;
  const auto user = of_uid_.find(listener.owner.uid);
  const Used used = user != of_uid_.end() ? user->second : Used{};
  if (administrator) return std::nullopt;
  if (used.listeners >= places_.share(limits_.in_all)) return Refusal::kUsersShare;
  if (used.name_bytes + listener.uri.size() > places_.share(limits_.name_bytes)) return Refusal::kUsersShareOfNames;
  return std::nullopt;
}

ListenerTable::Added ListenerTable::add(Listener listener, bool administrator) {
  Names& names = listener.prefix ? prefixes_ : exact_;
  if (const auto it = names.find(listener.uri); it != names.end()) return Taken{by_number_.at(it->second).owner.uid};
  if (const auto refused = refusal(listener, administrator)) return *refused;
  listener.number = next_++;
  of_client_[listener.client].insert(listener.number);
  Used& used = of_uid_[listener.owner.uid];
  ++used.listeners;
  used.name_bytes += listener.uri.size();
  name_bytes_ += listener.uri.size();
  names.emplace(listener.uri, listener.number);
  const ListenerNumber number = listener.number;
  by_number_.emplace(number, std::move(listener));
  return number;
}

bool ListenerTable::remove(ListenerNumber number) {
  const auto it = by_number_.find(number);
  if (it == by_number_.end()) return false;
  const Listener& listener = it->second;
  (listener.prefix ? prefixes_ : exact_).erase(listener.uri);
  name_bytes_ -= listener.uri.size();
  const auto user = of_uid_.find(listener.owner.uid);
  user->second.name_bytes -= listener.uri.size();
  if (--user->second.listeners == 0) of_uid_.erase(user);
  const auto its = of_client_.find(listener.client);
  its->second.erase(number);
  if (its->second.empty()) of_client_.erase(its);
  by_number_.erase(it);
  return true;
}

bool ListenerTable::remove_client(ClientNumber client, std::size_t most) {
  for (; most > 0; --most) {
    const auto its = of_client_.find(client);
    if (its == of_client_.end()) return true;
    remove(*its->second.begin());
  }
  return !of_client_.contains(client);
}

std::size_t ListenerTable::count_of_user(uid_t uid) const {
  const auto user = of_uid_.find(uid);
  return user == of_uid_.end() ? 0 : user->second.listeners;
}

const Listener* ListenerTable::find(ListenerNumber number) const {
  const auto it = by_number_.find(number);
  return it == by_number_.end() ? nullptr : &it->second;
}

bool ListenerTable::permitted(std::string_view uri, const ipc::PeerCredentials& client) const {
  std::optional<std::size_t> longest;
  bool permits = true;
  for (const PrefixReservation& reservation : reservations_) {
    const std::size_t length = reservation.prefix.size();
    if (!uri.starts_with(reservation.prefix) || length < longest.value_or(0)) continue;
    const bool same = longest == length;
    permits = (same && permits) || reservation.permits(client);
    longest = length;
  }
  return permits;
}

const Listener* ListenerTable::match(std::string_view uri) const {
  // Who listens for "fi" must not get what is reserved below "file://".
  const auto may = [&](const Listener& listener) { return permitted(uri, listener.owner); };
  if (const auto it = exact_.find(uri); it != exact_.end()) {
    const Listener& listener = by_number_.at(it->second);
    if (may(listener)) return &listener;
  }
  std::string_view rest = uri;
  for (auto it = prefixes_.upper_bound(rest); it != prefixes_.begin(); it = prefixes_.upper_bound(rest)) {
    --it;
    const std::string& prefix = it->first;
    const std::size_t common = common_length(prefix, rest);
    if (common == prefix.size()) {
      const Listener& listener = by_number_.at(it->second);
      if (may(listener)) return &listener;
      if (prefix.empty()) return nullptr;
      rest = rest.substr(0, prefix.size() - 1);  // the next shorter one
    } else {
      rest = rest.substr(0, common);  // no prefix of `uri` is longer than what it shares with its neighbour
    }
  }
  return nullptr;
}

}  // namespace connd::daemon
