// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtSignedIds: keeps OpenDHT from comparing the owner of a signed value with that of a value which has none.
///
/// When a value is put under the id of a stored one that is signed, OpenDHT 2.4.12 compares their owners, and reads
/// address 0 when the new one has no owner: two puts of a stranger, each in order by itself, or one, under the id of a
/// signed value of our own. So the gate remembers the ids of signed values, and cuts values without an owner that come
/// under such an id out of their message.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "proto/dht_limits.h"
#include "proto/time.h"

namespace connd::proto {

/// A set that may take an id for one that it has, and never the other way round: two bitmaps, of this time and of the
/// time before. When a flood has filled them, no value without owner is kept for others; nothing else suffers.
class DhtSignedIds {
 public:
  explicit DhtSignedIds(std::uint64_t seed) : seed_(seed) {}

  /// A signed value with this id is, or may be, with OpenDHT.
  void add(std::uint64_t id, TimePoint now) {
    turn(now);
    if (now_.empty()) now_.resize(kSignedIdBits / 64);
    now_[word(id)] |= bit(id);
  }
  [[nodiscard]] bool has(std::uint64_t id, TimePoint now) {
    turn(now);
    return in(now_, id) || in(before_, id);
  }
  /// One of those that are known has been renewed.
  void renew(std::uint64_t id, TimePoint now) {
    if (has(id, now)) add(id, now);
  }

 private:
  void turn(TimePoint now) {
    if (now < end_) return;
    before_ = std::exchange(now_, {});
    if (now >= end_ + kSignedIdTime) before_.clear();
    end_ = now + kSignedIdTime;
  }
  [[nodiscard]] std::uint64_t hash(std::uint64_t id) const {
    std::uint64_t h = (id ^ seed_) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return (h ^ (h >> 29)) % kSignedIdBits;
  }
  [[nodiscard]] std::size_t word(std::uint64_t id) const { return static_cast<std::size_t>(hash(id) / 64); }
  [[nodiscard]] std::uint64_t bit(std::uint64_t id) const { return std::uint64_t{1} << (hash(id) % 64); }
  [[nodiscard]] bool in(const std::vector<std::uint64_t>& bits, std::uint64_t id) const {
    return !bits.empty() && (bits[word(id)] & bit(id)) != 0;
  }

  std::uint64_t seed_;
  TimePoint end_{};
  std::vector<std::uint64_t> now_, before_;
};

}  // namespace connd::proto
