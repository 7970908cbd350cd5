// SPDX-License-Identifier: GPL-3.0-or-later
/// Reading maps by the names of their members, and members by what they must be; for the walker's files alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

#include "proto/dht_msgpack.h"

namespace connd::proto {

struct MemberName {
  std::string_view name;
  std::uint8_t member;  ///< below 32
};

/// Goes over the members of the next object, which must be a map. Unknown members are skipped. A known one may be there
/// once: OpenDHT takes the last of two in some maps, the first in others. A key that is no text is a fault, although
/// OpenDHT goes over it: no node sends one.
class Members {
 public:
  /// `depth`: of the map in what `in` reads.
  Members(MsgpackReader& in, std::size_t depth) : in_(in), depth_(depth + 1) {
    const MsgpackItem head = in_.next();
    if (!head.is(MsgpackItem::Type::kMap)) in_.fail(DhtFault::kNotMap);
    if (head.number > kMaxDhtMembers) in_.fail(DhtFault::kTooMany);
    left_ = in_.failed() ? 0 : head.number;
  }

  /// The next known member: the caller reads its value. Nothing at the end, or when the reader has failed.
  template <std::size_t N>
  std::optional<std::uint8_t> next(const MemberName (&names)[N]) {
    return next(std::span<const MemberName>(names));
  }
  [[nodiscard]] bool has(std::uint8_t member) const { return (seen_ >> member & 1U) != 0; }
  void require(std::initializer_list<std::uint8_t> members) {
    for (const std::uint8_t member : members) {
      if (!has(member)) in_.fail(DhtFault::kMissing);
    }
  }

 private:
  std::optional<std::uint8_t> next(std::span<const MemberName> names) {
    while (left_ > 0 && !in_.failed()) {
      --left_;
      const MsgpackItem key = in_.next();
      if (!key.is(MsgpackItem::Type::kStr)) {
        in_.fail(DhtFault::kBadKey);
        return std::nullopt;
      }
      const MemberName* name = find(names, key.text());
      if (name == nullptr) {
        in_.skip(depth_);
        continue;
      }
      if (has(name->member)) in_.fail(DhtFault::kDuplicate);
      seen_ |= 1U << name->member;
      if (in_.failed()) return std::nullopt;
      return name->member;
    }
    return std::nullopt;
  }
  static const MemberName* find(std::span<const MemberName> names, std::string_view key) {
    for (const MemberName& name : names) {
      if (name.name == key) return &name;
    }
    return nullptr;
  }

  MsgpackReader& in_;
  std::size_t depth_;
  std::uint64_t left_ = 0;
  std::uint32_t seen_ = 0;
};

/// A non-negative integer of at most `max`.
inline std::uint64_t read_uint(MsgpackReader& in, std::uint64_t max) {
  const MsgpackItem item = in.next();
  if (!item.is(MsgpackItem::Type::kUint)) in.fail(DhtFault::kWrongType);
  if (item.number > max) in.fail(DhtFault::kOutOfBounds);
  return in.failed() ? 0 : item.number;
}

/// Of either sign, as far from 0 as `max` at most.
inline void read_int(MsgpackReader& in, std::uint64_t max) {
  const MsgpackItem item = in.next();
  const bool negative = item.is(MsgpackItem::Type::kNegative);
  if (!negative && !item.is(MsgpackItem::Type::kUint)) in.fail(DhtFault::kWrongType);
  if ((negative ? std::uint64_t{0} - item.number : item.number) > max) in.fail(DhtFault::kOutOfBounds);
}

inline Bytes within(MsgpackReader& in, bool right_type, const MsgpackItem& item, std::size_t min, std::size_t max) {
  if (!right_type) in.fail(DhtFault::kWrongType);
  if (item.bytes.size() < min || item.bytes.size() > max) in.fail(DhtFault::kOutOfBounds);
  return in.failed() ? Bytes{} : item.bytes;
}
inline Bytes read_bin(MsgpackReader& in, std::size_t min, std::size_t max) {
  const MsgpackItem item = in.next();
  return within(in, item.is(MsgpackItem::Type::kBin), item, min, max);
}
/// What OpenDHT takes for bytes: bin, or text as msgpack had it before bin. (It takes an array of numbers, too, which
/// no node of the last ten years sends.)
inline Bytes read_blob(MsgpackReader& in, std::size_t min, std::size_t max) {
  const MsgpackItem item = in.next();
  return within(in, item.is_blob(), item, min, max);
}
inline std::string_view read_text(MsgpackReader& in, std::size_t max) {
  const MsgpackItem item = in.next();
  return as_text(within(in, item.is(MsgpackItem::Type::kStr), item, 0, max));
}
inline bool read_bool(MsgpackReader& in) {
  const MsgpackItem item = in.next();
  if (!item.is(MsgpackItem::Type::kBool)) in.fail(DhtFault::kWrongType);
  return item.number != 0;
}
/// The number of elements of the next object, which must be an array; the caller reads each.
inline std::size_t read_array(MsgpackReader& in, std::size_t max) {
  const MsgpackItem item = in.next();
  if (!item.is(MsgpackItem::Type::kArray)) in.fail(DhtFault::kWrongType);
  if (item.number > max) in.fail(DhtFault::kTooMany);
  return in.failed() ? 0 : static_cast<std::size_t>(item.number);
}

}  // namespace connd::proto
