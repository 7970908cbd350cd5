// SPDX-License-Identifier: GPL-3.0-or-later
/// MsgpackReader: msgpack from strangers, object by object.
///
/// A library would build a tree first, and make room for as many elements as an array says that it has. This reader
/// allocates nothing, recurses never, and stops at the first object that is not all there.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/bytes.h"
#include "proto/dht_fault.h"
#include "proto/dht_limits.h"

namespace connd::proto {

inline constexpr std::array<std::uint8_t, 1> kMsgpackNil = {0xc0};

/// One object, or the head of one that contains others.
struct MsgpackItem {
  enum class Type : std::uint8_t { kNil, kBool, kUint, kNegative, kFloat, kStr, kBin, kExt, kArray, kMap };

  Type type = Type::kNil;
  std::uint64_t number = 0;  ///< kUint: its value; kNegative: as int64; kBool: 0 or 1; kArray, kMap: elements or pairs
  Bytes bytes;               ///< kStr, kBin, kExt: the body, a part of the input

  [[nodiscard]] bool is(Type t) const { return type == t; }
  [[nodiscard]] std::string_view text() const { return as_text(bytes); }
  /// What OpenDHT takes for a run of bytes.
  [[nodiscard]] bool is_blob() const { return type == Type::kBin || type == Type::kStr; }
};

/// Reads one input. A reader that has failed stays failed, with the first fault, and gives nil items.
class MsgpackReader {
 public:
  /// `input` must outlive the reader, and is at `depth` in what it is taken from.
  explicit MsgpackReader(Bytes input, std::size_t depth = 0) : input_(input), depth_(depth) {}

  /// The next object, or head. For an array or map, its elements follow; the caller reads or skips each.
  MsgpackItem next();
  /// Goes beyond the next object and all that it contains, `depth` deep in this input.
  void skip(std::size_t depth = 0);
  /// The bytes of the next object with all that it contains, which is skipped.
  Bytes take(std::size_t depth = 0);

  void fail(DhtFault fault) {
    if (fault_ == DhtFault::kNone) fault_ = fault;
  }
  [[nodiscard]] DhtFault fault() const { return fault_; }
  [[nodiscard]] bool failed() const { return fault_ != DhtFault::kNone; }
  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] bool at_end() const { return position_ == input_.size(); }

 private:
  Bytes bytes(std::size_t n);
  std::uint64_t number(std::size_t bytes);
  MsgpackItem body(MsgpackItem::Type type, std::size_t n);
  MsgpackItem container(MsgpackItem::Type type, std::uint64_t count);
  MsgpackItem long_form(std::uint8_t head);
  MsgpackItem signed_number(std::size_t bytes);

  Bytes input_;
  std::size_t depth_;
  std::size_t position_ = 0;
  std::size_t elements_ = 0;
  DhtFault fault_ = DhtFault::kNone;
};

// The little that we write ourselves: text below 32 bytes, bin below 256, and numbers always in the long form, so that
// a message is as long whatever they are.
inline void append_msgpack_text(ByteVector& out, std::string_view text) {
  assert(text.size() < 32);
  out.push_back(static_cast<std::uint8_t>(0xa0 | text.size()));
  out.insert(out.end(), text.begin(), text.end());
}
inline void append_msgpack_bin(ByteVector& out, Bytes bytes) {
  assert(bytes.size() < 256);
  out.push_back(0xc4);
  out.push_back(static_cast<std::uint8_t>(bytes.size()));
  out.insert(out.end(), bytes.begin(), bytes.end());
}
inline void append_msgpack_u32(ByteVector& out, std::uint32_t number) {
  out.push_back(0xce);
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(number >> shift));
}

}  // namespace connd::proto
