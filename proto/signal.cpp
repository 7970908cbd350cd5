// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/signal.h"

#include <cassert>
#include <limits>
#include <string_view>
#include <utility>

#include <msgpack.hpp>

namespace connd::proto {
namespace {

// What a peer's map may make us allocate. Ours has five keys and two levels.
constexpr std::size_t kMaxElements = 64;
constexpr std::size_t kMaxDepth = 8;

std::optional<std::string_view> text_in(const msgpack::object& object) {
  if (object.type != msgpack::type::STR) return std::nullopt;
  return std::string_view(object.via.str.ptr, object.via.str.size);
}

std::optional<std::uint64_t> number_in(const msgpack::object& object) {
  if (object.type != msgpack::type::POSITIVE_INTEGER) return std::nullopt;
  return object.via.u64;
}

/// Fills a request from the pairs of its map; remembers which keys it has seen.
class Decoder {
 public:
  bool take(const msgpack::object_kv& pair) {
    const auto key = text_in(pair.key);
    if (!key) return true;
    if (*key == "id") return first(has_id_) && take_id(pair.val);
    if (*key == "ice_msg") return first(has_ice_) && take_text(pair.val, out_.ice_text);
    if (*key == "isAnswer") return first(has_is_answer_) && take_bool(pair.val);
    if (*key == "connType") return first(has_type_) && take_text(pair.val, out_.connection_type);
    if (*key == "jc-self") return first(has_self_) && take_self(pair.val);
    if (*key == "jc-chain") return first(has_chain_) && take_chain(pair.val);
    if (*key == "jc") return first(has_native_) && take_native(pair.val);
    return true;
  }
  [[nodiscard]] bool complete() const { return has_id_ && has_ice_ && has_is_answer_; }
  ConnectionRequest& out() { return out_; }

 private:
  static bool first(bool& seen) { return !std::exchange(seen, true); }
  bool take_id(const msgpack::object& value) {
    out_.id = number_in(value).value_or(0);
    return out_.id >= 1 && out_.id <= ConnectionRequest::kMaxId;
  }
  static bool take_text(const msgpack::object& value, std::string& out) {
    const auto text = text_in(value);
    if (text) out = *text;
    return text.has_value();
  }
  bool take_bool(const msgpack::object& value) {
    if (value.type != msgpack::type::BOOLEAN) return false;
    out_.is_answer = value.via.boolean;
    return true;
  }
  bool take_native(const msgpack::object& value) {
    if (value.type != msgpack::type::MAP) return false;
    for (std::uint32_t i = 0; i < value.via.map.size; ++i) {
      const msgpack::object_kv& pair = value.via.map.ptr[i];
      if (text_in(pair.key) != "v") continue;
      const std::uint64_t version = number_in(pair.val).value_or(0);
      if (version < 1 || version > std::numeric_limits<unsigned>::max() || out_.native_version) return false;
      out_.native_version = static_cast<unsigned>(version);
    }
    return out_.native_version.has_value();
  }

  bool take_chain(const msgpack::object& value) {
    if (value.type != msgpack::type::BIN || value.via.bin.size > ConnectionRequest::kMaxChainBytes) return false;
    const Bytes bytes = as_bytes({value.via.bin.ptr, value.via.bin.size});
    out_.chain.assign(bytes.begin(), bytes.end());
    return true;
  }

  bool take_self(const msgpack::object& value) {
    if (value.type != msgpack::type::ARRAY || value.via.array.size != 2) return false;
    const auto number = number_in(value.via.array.ptr[0]);
    const auto seen = number_in(value.via.array.ptr[1]);
    if (!number || *number < 1 || *number > ConnectionRequest::kMaxId) return false;
    if (!seen || *seen > ConnectionRequest::kMaxId) return false;
    out_.self = SelfNote{*number, *seen};
    return true;
  }

  ConnectionRequest out_;
  bool has_id_ = false;
  bool has_ice_ = false;
  bool has_is_answer_ = false;
  bool has_type_ = false;
  bool has_native_ = false;
  bool has_chain_ = false;
  bool has_self_ = false;
};

}  // namespace

ByteVector ConnectionRequest::encode() const {
  assert(id >= 1 && id <= kMaxId);
  assert(ice_text.size() <= IceDescription::kMaxTextBytes && connection_type.size() <= kMaxConnectionTypeBytes);
  msgpack::sbuffer buffer;
  msgpack::packer packer(buffer);
  assert(chain.size() <= kMaxChainBytes);
  packer.pack_map(4u + (native_version ? 1u : 0u) + (chain.empty() ? 0u : 1u) + (self ? 1u : 0u));
  packer.pack("id");
  packer.pack(id);
  packer.pack("ice_msg");
  packer.pack(ice_text);
  packer.pack("isAnswer");
  packer.pack(is_answer);
  packer.pack("connType");
  packer.pack(connection_type);
  if (native_version) {
    packer.pack("jc");
    packer.pack_map(1);
    packer.pack("v");
    packer.pack(*native_version);
  }
  if (!chain.empty()) {
    packer.pack("jc-chain");
    packer.pack_bin(static_cast<std::uint32_t>(chain.size()));
    packer.pack_bin_body(as_text(chain).data(), static_cast<std::uint32_t>(chain.size()));
  }
  if (self) {
    packer.pack("jc-self");
    packer.pack_array(2);
    packer.pack(self->number);
    packer.pack(self->seen);
  }
  const Bytes bytes = as_bytes({buffer.data(), buffer.size()});
  return {bytes.begin(), bytes.end()};
}

Result<ConnectionRequest> ConnectionRequest::decode(Bytes encoded) {
  if (encoded.size() > kMaxEncodedBytes) return Errc::kTooLong;
  const msgpack::unpack_limit limit(kMaxElements, kMaxElements, kMaxEncodedBytes, kMaxEncodedBytes, kMaxEncodedBytes,
                                    kMaxDepth);
  const std::string_view text = as_text(encoded);
  msgpack::object_handle handle;
  std::size_t used = 0;
  try {
    msgpack::unpack(handle, text.data(), text.size(), used, nullptr, nullptr, limit);
  } catch (const std::exception&) {  // unpack_error, size_overflow or bad_alloc: all of them the peer's doing
    return Errc::kBadConnectionRequest;
  }
  const msgpack::object& map = handle.get();
  if (used != text.size() || map.type != msgpack::type::MAP) return Errc::kBadConnectionRequest;
  Decoder decoder;
  for (std::uint32_t i = 0; i < map.via.map.size; ++i) {
    if (!decoder.take(map.via.map.ptr[i])) return Errc::kBadConnectionRequest;
  }
  if (!decoder.complete()) return Errc::kBadConnectionRequest;
  ConnectionRequest& out = decoder.out();
  if (out.ice_text.size() > IceDescription::kMaxTextBytes || out.connection_type.size() > kMaxConnectionTypeBytes) {
    return Errc::kTooLong;
  }
  return std::move(out);
}

}  // namespace connd::proto
