// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/dht_msgpack.h"

#include <array>

namespace connd::proto {

using Type = MsgpackItem::Type;

Bytes MsgpackReader::bytes(std::size_t n) {
  if (failed()) return {};
  if (n > input_.size() - position_) {
    fail(DhtFault::kTruncated);
    return {};
  }
  const Bytes out = input_.subspan(position_, n);
  position_ += n;
  return out;
}

std::uint64_t MsgpackReader::number(std::size_t n) {
  std::uint64_t out = 0;
  for (const std::uint8_t b : bytes(n)) out = (out << 8) | b;
  return out;
}

MsgpackItem MsgpackReader::body(Type type, std::size_t n) {
  return {type, 0, bytes(n)};
}

MsgpackItem MsgpackReader::container(Type type, std::uint64_t count) {
  // Each element is a byte at least: what says more is not all there, however much a parser would make room for.
  const std::uint64_t least = type == Type::kMap ? count * 2 : count;
  if (least > input_.size() - position_) fail(DhtFault::kTruncated);
  if (least > kMaxDhtElements) fail(DhtFault::kTooMany);
  if (failed()) return {};
  return {type, count, {}};
}

MsgpackItem MsgpackReader::signed_number(std::size_t n) {
  const std::uint64_t raw = number(n);
  const unsigned shift = static_cast<unsigned>(64 - 8 * n);
  const auto value = static_cast<std::int64_t>(raw << shift) >> shift;
  // As msgpack-cxx has it: a signed form of a number that is not negative is a positive integer.
  return {value < 0 ? Type::kNegative : Type::kUint, static_cast<std::uint64_t>(value), {}};
}

MsgpackItem MsgpackReader::long_form(std::uint8_t head) {
  switch (head) {
    case 0xc0:
      return {};
    case 0xc2:
    case 0xc3:
      return {Type::kBool, head & 1U, {}};
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return body(Type::kBin, number(std::size_t{1} << (head - 0xc4)));
    case 0xc7:
    case 0xc8:
    case 0xc9:
      return body(Type::kExt, number(std::size_t{1} << (head - 0xc7)) + 1);
    case 0xca:
    case 0xcb:
      return body(Type::kFloat, std::size_t{4} << (head - 0xca));
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
      return {Type::kUint, number(std::size_t{1} << (head - 0xcc)), {}};
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return signed_number(std::size_t{1} << (head - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return body(Type::kExt, (std::size_t{1} << (head - 0xd4)) + 1);
    case 0xd9:
    case 0xda:
    case 0xdb:
      return body(Type::kStr, number(std::size_t{1} << (head - 0xd9)));
    case 0xdc:
    case 0xdd:
      return container(Type::kArray, number(std::size_t{2} << (head - 0xdc)));
    case 0xde:
    case 0xdf:
      return container(Type::kMap, number(std::size_t{2} << (head - 0xde)));
    default:  // 0xc1, which the format does not use
      fail(DhtFault::kBadByte);
      return {};
  }
}

MsgpackItem MsgpackReader::next() {
  if (++elements_ > kMaxDhtElements) fail(DhtFault::kTooMany);
  const Bytes first = bytes(1);
  if (first.empty()) return {};
  const std::uint8_t head = first[0];
  MsgpackItem item;
  if (head < 0x80) {
    item = {Type::kUint, head, {}};
  } else if (head < 0x90) {
    item = container(Type::kMap, head & 0x0fU);
  } else if (head < 0xa0) {
    item = container(Type::kArray, head & 0x0fU);
  } else if (head < 0xc0) {
    item = body(Type::kStr, head & 0x1fU);
  } else if (head < 0xe0) {
    item = long_form(head);
  } else {
    item = {Type::kNegative, static_cast<std::uint64_t>(static_cast<std::int8_t>(head)), {}};
  }
  return failed() ? MsgpackItem{} : item;
}

void MsgpackReader::skip(std::size_t depth) {
  // How many objects are left at each depth; the first is the one that was asked for.
  std::array<std::uint64_t, kMaxDhtDepth + 1> left;
  std::size_t level = 0;
  left[0] = 1;
  while (!failed()) {
    if (left[level] == 0) {
      if (level == 0) return;
      --level;
      continue;
    }
    --left[level];
    const MsgpackItem item = next();
    const std::uint64_t inside = item.is(Type::kMap) ? item.number * 2 : item.is(Type::kArray) ? item.number : 0;
    if (!item.is(Type::kMap) && !item.is(Type::kArray)) continue;
    // An empty container counts, too: a parser goes down for it.
    if (depth_ + depth + level + 1 > kMaxDhtDepth) return fail(DhtFault::kTooDeep);
    left[++level] = inside;
  }
}

Bytes MsgpackReader::take(std::size_t depth) {
  const std::size_t begin = position_;
  skip(depth);
  return failed() ? Bytes{} : input_.subspan(begin, position_ - begin);
}

}  // namespace connd::proto
