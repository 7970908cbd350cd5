// SPDX-License-Identifier: GPL-3.0-or-later
/// What the control objects of both dialects share in reading and writing msgpack. Private to proto/'s .cpp files.
#pragma once

#include <exception>
#include <optional>
#include <string_view>

#include <msgpack.hpp>

#include "proto/bytes.h"
#include "proto/limits.h"

namespace connd::proto {

inline bool is_uint(const msgpack::object& o) {
  return o.type == msgpack::type::POSITIVE_INTEGER;
}
inline bool is_text(const msgpack::object& o) {
  return o.type == msgpack::type::STR;
}
inline std::string_view text_of(const msgpack::object& o) {
  return {o.via.str.ptr, o.via.str.size};
}
/// The first value of a key; null when the map has none.
inline const msgpack::object* find_key(const msgpack::object_map& map, std::string_view key) {
  for (std::uint32_t i = 0; i < map.size; ++i) {
    const msgpack::object_kv& pair = map.ptr[i];
    if (is_text(pair.key) && text_of(pair.key) == key) return &pair.val;
  }
  return nullptr;
}

/// The next object at `offset`. msgpack-c reports everything by exceptions; they end here.
inline std::optional<msgpack::object_handle> unpack_one(Bytes body, std::size_t& offset) {
  const msgpack::unpack_limit limit(kMaxControlElements, kMaxControlElements, kMaxFrameBody, kMaxFrameBody,
                                    kMaxFrameBody, kMaxControlNesting);
  try {
    return msgpack::unpack(reinterpret_cast<const char*>(body.data()), body.size(), offset, nullptr, nullptr, limit);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

struct MsgpackSink {
  ByteVector& out;
  void write(const char* data, std::size_t size) { out.insert(out.end(), data, data + size); }
};
using Packer = msgpack::packer<MsgpackSink>;

inline void put(Packer& p, std::string_view text) {
  p.pack_str(static_cast<std::uint32_t>(text.size()));
  p.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

}  // namespace connd::proto
