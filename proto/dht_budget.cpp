// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_budget.h"

#include <algorithm>
#include <utility>

namespace connd::proto {
namespace {

constexpr std::size_t kInitialBuckets = 64;
/// Of each part beside its bytes of a value: OpenDHT's are 1,280 bytes in 30 to 60 more.
constexpr std::size_t kPartBytes = 1'280;
constexpr std::size_t kPartOverhead = 64;

/// `bytes` of the address, the rest and the port zero.
DhtAddress prefix(const DhtAddress& address, std::size_t ipv4_bytes, std::size_t ipv6_bytes) {
  DhtAddress out = address;
  const std::size_t kept = address.family == DhtAddress::Family::kIpv4 ? ipv4_bytes : ipv6_bytes;
  std::fill(out.ip.begin() + static_cast<std::ptrdiff_t>(kept), out.ip.end(), std::uint8_t{0});
  out.port = 0;
  return out;
}
/// What one network has, and what one host has.
DhtAddress network_of(const DhtAddress& address) {
  return prefix(address, 3, 6);
}
DhtAddress host_of(const DhtAddress& address) {
  return prefix(address, 4, 8);
}

/// A request of ours that carries no values.
bool is_small_request(const DhtMessage* message) {
  return message != nullptr && message->is_request() && message->values == 0;
}

/// The message with all its parts.
std::size_t whole_size(std::size_t bytes, const DhtMessage* message) {
  if (message == nullptr) return bytes;
  for (const DhtSizedValue& value : message->sized) {
    bytes += value.size + (value.size / kPartBytes + 1) * kPartOverhead;
  }
  return bytes;
}

bool is_answer(const DhtMessage& message) {
  return message.kind == DhtKind::kReply || message.kind == DhtKind::kError;
}

}  // namespace

DhtBudget::DhtBudget(Config config)
    : config_(std::move(config)),
      ping_bytes_(encode_dht_ping({config_.node_id, 0, config_.network}).size()),
      unproved_(kInitialBuckets, DhtAddressHash{hash_seed(config_.random)}),
      proved_(kInitialBuckets, DhtAddressHash{hash_seed(config_.random)}),
      proved_of_prefix_(kInitialBuckets, DhtAddressHash{hash_seed(config_.random)}),
      buckets_(kInitialBuckets, DhtAddressHash{hash_seed(config_.random)}) {}

bool DhtBudget::Asked::has(std::uint32_t tid) const {
  const auto end = tids_.begin() + static_cast<std::ptrdiff_t>(std::min(count_, tids_.size()));
  return std::find(tids_.begin(), end, tid) != end;
}

// ---- the tables ----

void DhtBudget::remove_unproved(UnprovedList::iterator peer) {
  drop_held_of(*peer, dropped_.unproved);
  unproved_.erase(peer->address);
  unproved_list_.erase(peer);
}

DhtBudget::Unproved* DhtBudget::find_unproved(const DhtAddress& address, TimePoint now) {
  const auto found = unproved_.find(address);
  if (found == unproved_.end()) return nullptr;
  if (now - found->second->last >= kUnprovedTime) {
    remove_unproved(found->second);
    return nullptr;
  }
  return &*found->second;
}

DhtBudget::Unproved& DhtBudget::make_unproved(const DhtAddress& address, TimePoint now) {
  if (Unproved* known = find_unproved(address, now)) {
    known->last = now;
    unproved_list_.splice(unproved_list_.end(), unproved_list_, unproved_.at(address));
    return *known;
  }
  if (unproved_.size() >= kMaxUnproved) remove_unproved(unproved_list_.begin());
  Unproved& peer = unproved_list_.emplace_back();
  peer.address = address;
  peer.last = now;
  unproved_.emplace(address, std::prev(unproved_list_.end()));
  return peer;
}

void DhtBudget::remove_proved(ProvedList::iterator peer) {
  const auto count = proved_of_prefix_.find(network_of(peer->address));
  if (--count->second == 0) proved_of_prefix_.erase(count);
  proved_.erase(peer->address);
  proved_list_.erase(peer);
}

DhtBudget::Unproved& DhtBudget::unprove(ProvedList::iterator peer, TimePoint now) {
  const DhtAddress address = peer->address;
  const Asked asked = peer->asked;
  remove_proved(peer);
  // It was there: it may be pinged again whatever it has to its credit.
  Unproved& out = make_unproved(address, now);
  out.ours = true;
  out.asked = asked;
  return out;
}

DhtBudget::Proved* DhtBudget::find_proved(const DhtAddress& address, TimePoint now) {
  const auto found = proved_.find(address);
  if (found == proved_.end()) return nullptr;
  if (now >= found->second->until) {
    unprove(found->second, now);
    return nullptr;
  }
  proved_list_.splice(proved_list_.end(), proved_list_, found->second);
  return &*found->second;
}

bool DhtBudget::is_proved(const DhtAddress& address, TimePoint now) const {
  const auto found = proved_.find(address);
  return found != proved_.end() && now < found->second->until;
}

DhtBudget::Proved& DhtBudget::prove(Unproved& peer, TimePoint now) {
  const DhtAddress network = network_of(peer.address);
  const auto count = proved_of_prefix_.find(network);
  if (count != proved_of_prefix_.end() && count->second >= kMaxProvedOfPrefix) {
    const auto oldest = std::find_if(proved_list_.begin(), proved_list_.end(),
                                     [&](const Proved& p) { return network_of(p.address) == network; });
    remove_proved(oldest);
  } else if (proved_.size() >= kMaxProved) {
    remove_proved(proved_list_.begin());
  }
  Proved& out = proved_list_.emplace_back();
  out.address = peer.address;
  out.until = now + kProvedTime;
  out.pong = *peer.pings.tid;
  out.asked = peer.asked;
  out.group = peer.group;
  proved_.emplace(peer.address, std::prev(proved_list_.end()));
  ++proved_of_prefix_[network];
  return out;
}

bool DhtBudget::take_tokens(const DhtAddress& to, std::size_t bytes, TimePoint now) {
  const DhtAddress host = host_of(to);
  auto found = buckets_.find(host);
  if (found == buckets_.end()) {
    if (buckets_.size() >= kMaxSendBuckets) {
      buckets_.erase(bucket_list_.front().ip);
      bucket_list_.pop_front();
    }
    bucket_list_.push_back({host, TokenBucket(kSendBurstBytes, kSendBytesPerSecond, now)});
    found = buckets_.emplace(host, std::prev(bucket_list_.end())).first;
  } else {
    bucket_list_.splice(bucket_list_.end(), bucket_list_, found->second);
  }
  return bytes <= kSendBurstBytes && found->second->tokens.take(now, static_cast<std::uint32_t>(bytes));
}

// ---- what came ----

DhtBudget::Seen DhtBudget::on_received(const DhtAddress& from, const DhtMessage& message, std::size_t bytes,
                                       TimePoint now) {
  if (Proved* proved = find_proved(from, now)) {
    proved->silent_since = kNever;
    if (!is_answer(message)) return Seen::kOther;
    if (message.tid == proved->pong) return Seen::kPong;
    return proved->asked.has(message.tid) ? Seen::kAnswer : Seen::kOther;
  }
  Unproved& peer = make_unproved(from, now);
  if (is_answer(message) && peer.pings.tid == message.tid) {
    const Seen seen = peer.left_out ? Seen::kLate : Seen::kPong;
    Proved& proved = prove(peer, now);
    const bool released = release(peer, now);
    // Parts that are still to come from OpenDHT follow the message that they belong to.
    if (proved.group && proved.group->fate == Fate::kHold) {
      proved.group->fate = released ? Fate::kSend : Fate::kDrop;
      proved.group->fault = DhtFault::kSendRate;
    }
    remove_unproved(unproved_.at(from));
    return seen;
  }
  const std::size_t credit = peer.credit + std::min<std::size_t>(bytes, kMaxUnprovedCredit) * kUnprovedFactor;
  peer.credit = static_cast<std::uint32_t>(std::min<std::size_t>(credit, kMaxUnprovedCredit));
  if (!is_answer(message) || !peer.asked.has(message.tid)) {
    if (is_answer(message)) on_wrong_answer(peer);
    if (!peer.held.empty()) ping(peer, now);
    return Seen::kOther;
  }
  peer.ours = true;
  // Who gives us a token is about to get values from us: the proof is there by then.
  if (message.has_token || !peer.held.empty()) ping(peer, now);
  return Seen::kAnswer;
}

// Somebody may be trying all transaction ids, with a forged address. Another one has to be guessed then.
void DhtBudget::on_wrong_answer(Unproved& peer) {
  if (!peer.pings.tid || ++peer.pings.wrong < kMaxWrongPongs) return;
  peer.pings.tid.reset();
}

void DhtBudget::ping(Unproved& peer, TimePoint now) {
  Pings& pings = peer.pings;
  const unsigned doubled = std::min(pings.sent, kMaxPingDoublings + 1);
  if (pings.sent > 0 && now < pings.last + kPingInterval * (1U << (doubled - 1))) return;
  const auto cost = static_cast<std::uint32_t>(ping_bytes_);
  if (!peer.ours && peer.credit < cost) return;
  peer.credit -= std::min(peer.credit, cost);
  // The same again while the first may still be answered: either answer will do.
  if (!pings.tid || now >= pings.first + kHeldTime) {
    pings.tid = config_.random();
    pings.first = now;
    pings.wrong = 0;
  }
  pings.last = now;
  if (pings.sent++ == 0) pings.since = now;
  output_.push_back({{peer.address, encode_dht_ping({config_.node_id, *pings.tid, config_.network})}, true});
}

DhtBudget::Named DhtBudget::on_named(const DhtAddress& address, TimePoint now) {
  if (const auto found = proved_.find(address); found != proved_.end()) {
    const Proved& proved = *found->second;
    const bool silent = proved.silent_since != kNever && now >= proved.silent_since + kNamedPatience;
    if (now < proved.until && !silent) return Named::kLives;
    unprove(found->second, now);
  }
  Unproved* known = find_unproved(address, now);
  if (known == nullptr || known->pings.sent == 0) {
    const bool is_new = known == nullptr;
    // Who has no credit may be somebody else, whose address is forged.
    if (!is_new && !known->ours && known->credit < ping_bytes_) return Named::kLives;
    if (!named_pings_.take(now)) return Named::kLives;
    known = &make_unproved(address, now);
    known->ours = known->ours || is_new;
    ping(*known, now);
  }
  if (now < known->pings.since + kNamedPatience) return Named::kAsked;
  ping(*known, now);
  return Named::kSilent;
}

void DhtBudget::on_left_out(const DhtAddress& address) {
  if (const auto found = unproved_.find(address); found != unproved_.end()) found->second->left_out = true;
}

void DhtBudget::forget_silence() {
  for (Proved& peer : proved_list_) peer.silent_since = kNever;
  for (Unproved& peer : unproved_list_) peer.pings.sent = 0;
}

bool DhtBudget::release(Unproved& peer, TimePoint now) {
  if (peer.held.empty()) return true;
  if (!take_tokens(peer.address, peer.held_bytes, now)) {
    drop_held_of(peer, dropped_.rate);
    return false;
  }
  for (ByteVector& datagram : peer.held) output_.push_back({{peer.address, std::move(datagram)}, false});
  held_bytes_ -= peer.held_bytes;
  peer.held.clear();
  peer.held_bytes = 0;
  holding_.remove(peer.address);
  return true;
}

// ---- what is sent ----

DhtBudget::Decision DhtBudget::on_send(const DhtAddress& to, Bytes datagram, const DhtMessage* message, TimePoint now) {
  if (Proved* peer = find_proved(to, now)) return send_to_proved(*peer, datagram, message, now);
  Unproved* known = find_unproved(to, now);
  if (known == nullptr) {
    known = &make_unproved(to, now);
    // Nothing came from there: if this is a request, nobody has made us send it with a forged address.
    known->ours = message != nullptr && message->is_request();
  }
  return send_to_unproved(*known, datagram, message, now);
}

DhtBudget::Decision DhtBudget::send_to_proved(Proved& peer, Bytes datagram, const DhtMessage* message, TimePoint now) {
  if (message != nullptr && message->is_request()) {
    peer.asked.add(message->tid);
    peer.silent_since = std::min(peer.silent_since, now);
  }
  if (is_small_request(message)) return {};
  if (message != nullptr && message->kind == DhtKind::kValueData && peer.group && peer.group->tid == message->tid) {
    return {peer.group->fate, peer.group->fault};
  }
  Decision out;
  if (!take_tokens(peer.address, whole_size(datagram.size(), message), now)) out = {Fate::kDrop, DhtFault::kSendRate};
  if (message != nullptr && !message->sized.empty()) peer.group = Group{message->tid, out.fate, out.fault};
  return out;
}

DhtBudget::Decision DhtBudget::send_to_unproved(Unproved& peer, Bytes datagram, const DhtMessage* message,
                                                TimePoint now) {
  if (message != nullptr && message->is_request()) peer.asked.add(message->tid);
  if (is_small_request(message) && peer.ours) return {};
  if (message != nullptr && message->kind == DhtKind::kValueData && peer.group && peer.group->tid == message->tid) {
    if (peer.group->fate == Fate::kHold) return hold(peer, datagram, 0, now);
    return {peer.group->fate, peer.group->fault};
  }
  Decision out;
  const std::size_t all = whole_size(datagram.size(), message);
  // A ping has to be within the credit, too, so that there always is a way out.
  if (peer.held.empty() && all + ping_bytes_ <= peer.credit) {
    peer.credit -= static_cast<std::uint32_t>(all);
  } else {
    out = hold(peer, datagram, all, now);
    ping(peer, now);
  }
  if (message != nullptr && !message->sized.empty()) peer.group = Group{message->tid, out.fate, out.fault};
  return out;
}

// `all`: what the datagram will be with the parts that follow; 0 for such a part, which has its place already.
DhtBudget::Decision DhtBudget::hold(Unproved& peer, Bytes datagram, std::size_t all, TimePoint now) {
  constexpr Decision kNoRoom{Fate::kDrop, DhtFault::kSendNoRoom};
  if (peer.held_bytes + std::max(all, datagram.size()) > kMaxHeldBytesOfAddress) return kNoRoom;
  while (held_bytes_ + datagram.size() > kMaxHeldDhtBytes) {
    // Who waits longest has had his time to answer.
    Unproved& oldest = *unproved_.at(holding_.front());
    if (&oldest == &peer) return kNoRoom;
    drop_held_of(oldest, dropped_.no_room);
  }
  if (peer.held.empty()) {
    peer.held_since = now;
    holding_.push_back(peer.address);
  }
  peer.held.emplace_back(datagram.begin(), datagram.end());
  peer.held_bytes += datagram.size();
  held_bytes_ += datagram.size();
  return {Fate::kHold, DhtFault::kNone};
}

void DhtBudget::drop_held_of(Unproved& peer, std::uint64_t& counter) {
  if (peer.held.empty()) return;
  counter += peer.held.size();
  held_bytes_ -= peer.held_bytes;
  peer.held.clear();
  peer.held_bytes = 0;
  holding_.remove(peer.address);
  if (peer.group && peer.group->fate == Fate::kHold) peer.group = Group{peer.group->tid};
}

std::vector<DhtBudget::Output> DhtBudget::take_output() {
  return std::exchange(output_, {});
}

TimePoint DhtBudget::next_deadline() const {
  return holding_.empty() ? kNever : unproved_.at(holding_.front())->held_since + kHeldTime;
}

void DhtBudget::on_timeout(TimePoint now) {
  while (now >= next_deadline()) drop_held_of(*unproved_.at(holding_.front()), dropped_.unproved);
}

void DhtBudget::drop_held() {
  while (!holding_.empty()) drop_held_of(*unproved_.at(holding_.front()), dropped_.unproved);
}

DhtBudget::Dropped DhtBudget::take_dropped() {
  return std::exchange(dropped_, {});
}

}  // namespace connd::proto
