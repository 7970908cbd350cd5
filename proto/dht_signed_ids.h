// SPDX-License-Identifier: GPL-3.0-or-later
/// DhtSignedIds: what may come upon a signed value.
///
/// When a value is put under the id of a stored one that is signed, OpenDHT 2.4.12 compares their owners, and reads
/// address 0 when the new one has no owner: two puts of a stranger, each in order by itself, or one, under the id of a
/// signed value of our own. When it is signed by the same owner it takes the other's place, and OpenDHT's account of
/// who keeps how much goes wrong by the difference in length (dht_keep.h). So the gate remembers the ids of signed
/// values, and their lengths.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "proto/dht_address.h"
#include "proto/dht_limits.h"
#include "proto/time.h"

namespace connd::proto {

/// A set that may take an id for one that it has, and never the other way round: two bitmaps, of this time and of the
/// time before. When a flood has filled them, nothing new is kept for others; nothing else suffers. The lengths are
/// exact; of more than kMaxSignedLengths, one chosen by chance is forgotten, and its value then not put again.
class DhtSignedIds {
 public:
  /// `random` as in DhtGateConfig.
  explicit DhtSignedIds(std::function<std::uint32_t()> random)
      : random_(std::move(random)), seed_(hash_seed(random_)), lengths_(0, IdHash{seed_}) {}

  /// Of all that OpenDHT may count as the size of a value, each by itself: which of them it counts is its own affair.
  struct Lengths {
    std::uint32_t data = 0, sig = 0, utype = 0;
    friend bool operator==(const Lengths&, const Lengths&) = default;
  };

  /// A signed value with this id is, or may be, with OpenDHT.
  void add(std::uint64_t id, TimePoint now) {
    turn(now);
    if (now_.empty()) now_.resize(kSignedIdBits / 64);
    now_[word(id)] |= bit(id);
  }
  /// The same for one that is put under `key`, unless there is, or may be, one of other lengths there: then false, and
  /// nothing is added.
  [[nodiscard]] bool add_alike(Bytes key, std::uint64_t id, const Lengths& lengths, TimePoint now) {
    turn(now);
    const std::uint64_t place = place_of(key, id);
    const auto known = lengths_.find(place);
    if (known == lengths_.end() ? has(place, now) : known->second != lengths) return false;
    if (known == lengths_.end()) remember(place, lengths);
    add(place, now);
    add(id, now);
    return true;
  }
  [[nodiscard]] bool has(std::uint64_t id, TimePoint now) {
    turn(now);
    return in(now_, id) || in(before_, id);
  }
  /// One of those that are known has been renewed; `key` may be empty.
  void renew(Bytes key, std::uint64_t id, TimePoint now) {
    for (const std::uint64_t known : {id, place_of(key, id)}) {
      if (has(known, now)) add(known, now);
    }
  }

 private:
  void turn(TimePoint now) {
    if (now < end_) return;
    before_ = std::exchange(now_, {});
    if (now >= end_ + kSignedIdTime) before_.clear();
    end_ = now + kSignedIdTime;
    std::erase_if(lengths_, [&](const auto& entry) { return !in(before_, entry.first); });
    order_.clear();
    for (const auto& entry : lengths_) order_.push_back(entry.first);
  }
  void remember(std::uint64_t place, const Lengths& lengths) {
    if (order_.size() < kMaxSignedLengths) {
      order_.push_back(place);
    } else {
      std::uint64_t& other = order_[random_() % order_.size()];
      lengths_.erase(other);
      other = place;
    }
    lengths_.emplace(place, lengths);
  }
  /// A number for a key of the DHT and an id under it.
  [[nodiscard]] std::uint64_t place_of(Bytes key, std::uint64_t id) const {
    std::uint64_t h = id ^ ~seed_;
    for (std::uint32_t word = 0; key.size() >= sizeof word; key = key.subspan(sizeof word)) {
      std::memcpy(&word, key.data(), sizeof word);
      h = IdHash{seed_}(h ^ word);
    }
    return h;
  }
  /// Strangers choose the ids: without the seed they could choose those that fall together.
  struct IdHash {
    std::uint64_t seed;
    std::size_t operator()(std::uint64_t id) const noexcept {
      std::uint64_t h = (id ^ seed) * 0xff51afd7ed558ccdULL;
      h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
      return static_cast<std::size_t>(h ^ (h >> 29));
    }
  };
  [[nodiscard]] std::uint64_t hash(std::uint64_t id) const { return IdHash{seed_}(id) % kSignedIdBits; }
  [[nodiscard]] std::size_t word(std::uint64_t id) const { return static_cast<std::size_t>(hash(id) / 64); }
  [[nodiscard]] std::uint64_t bit(std::uint64_t id) const { return std::uint64_t{1} << (hash(id) % 64); }
  [[nodiscard]] bool in(const std::vector<std::uint64_t>& bits, std::uint64_t id) const {
    return !bits.empty() && (bits[word(id)] & bit(id)) != 0;
  }

  std::function<std::uint32_t()> random_;
  std::uint64_t seed_;
  std::unordered_map<std::uint64_t, Lengths, IdHash> lengths_;  ///< by place_of
  std::vector<std::uint64_t> order_;                            ///< the same places in no order, for a choice by chance
  TimePoint end_{};
  std::vector<std::uint64_t> now_, before_;
};

}  // namespace connd::proto
