// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/file_wire.h"

#include <algorithm>
#include <exception>
#include <optional>

#include <msgpack.hpp>

namespace connd::tools {
namespace {

// In a header that is read: elements of an array or map, bytes of a string, depth. Members to come fit, bombs do not.
constexpr std::size_t kMaxElements = 64;
constexpr std::size_t kMaxDepth = 4;

const msgpack::object* member(const msgpack::object_map& map, std::string_view key) {
  for (std::uint32_t i = 0; i < map.size; ++i) {
    const msgpack::object& name = map.ptr[i].key;
    if (name.type == msgpack::type::STR && std::string_view(name.via.str.ptr, name.via.str.size) == key) {
      return &map.ptr[i].val;
    }
  }
  return nullptr;
}

/// A whole number from 0 to `most`; none if it is missing or another thing.
std::optional<std::uint64_t> count_of(const msgpack::object_map& map, std::string_view key, std::uint64_t most) {
  const msgpack::object* value = member(map, key);
  if (value == nullptr || value->type != msgpack::type::POSITIVE_INTEGER || value->via.u64 > most) return std::nullopt;
  return value->via.u64;
}

std::optional<std::int64_t> time_of(const msgpack::object_map& map, std::string_view key) {
  const msgpack::object* value = member(map, key);
  if (value != nullptr && value->type == msgpack::type::NEGATIVE_INTEGER) return value->via.i64;
  const auto positive = count_of(map, key, kMaxFileBytes);  // of a signed 64-bit number, too
  return positive ? std::optional(static_cast<std::int64_t>(*positive)) : std::nullopt;
}

HeaderOutcome read_map(const msgpack::object& object) {
  if (object.type != msgpack::type::MAP) return Malformed{"the header is no map"};
  const msgpack::object_map& map = object.via.map;
  const auto version = count_of(map, "v", UINT64_MAX);
  if (!version) return Malformed{"the header has no version"};
  if (*version != kFilesVersion) return Malformed{"the header has another version than 1"};
  const auto size = count_of(map, "size", kMaxFileBytes);
  const auto mtime = time_of(map, "mtime");
  const auto mode = count_of(map, "mode", 07777);
  if (!size || !mtime || !mode) return Malformed{"the header has no size, mtime or mode, or a wrong one"};
  return FileHeader{*size, *mtime, static_cast<std::uint32_t>(*mode)};
}

std::uint32_t load_u32(proto::Bytes bytes) {
  return proto::ByteReader(bytes).u32();
}

void append(proto::ByteVector& out, const void* data, std::size_t size) {
  const auto* begin = static_cast<const std::uint8_t*>(data);
  out.insert(out.end(), begin, begin + size);
}

}  // namespace

proto::ByteVector encode_header(const FileHeader& header) {
  msgpack::sbuffer map;
  msgpack::packer<msgpack::sbuffer> pack(map);
  pack.pack_map(4);
  pack.pack("v");
  pack.pack(kFilesVersion);
  pack.pack("size");
  pack.pack(header.size);
  pack.pack("mtime");
  pack.pack(header.mtime_ns);
  pack.pack("mode");
  pack.pack(header.mode);
  proto::ByteVector out(kLengthBytes);
  proto::store_u16(out.data() + 2, static_cast<std::uint16_t>(map.size()));
  append(out, map.data(), map.size());
  return out;
}

HeaderOutcome decode_header(proto::Bytes bytes) {
  if (bytes.size() < kLengthBytes) return NeedMore{kLengthBytes - bytes.size()};
  const std::size_t length = load_u32(bytes.first(kLengthBytes));
  if (length == 0 || length > kMaxHeaderBytes) return Malformed{"the header's length is 0, or more than 1024"};
  if (bytes.size() < kLengthBytes + length) return NeedMore{kLengthBytes + length - bytes.size()};
  const std::string_view text = proto::as_text(bytes.subspan(kLengthBytes, length));
  try {
    const msgpack::unpack_limit limit(kMaxElements, kMaxElements, kMaxHeaderBytes, kMaxHeaderBytes, kMaxHeaderBytes,
                                      kMaxDepth);
    std::size_t end = 0;
    const msgpack::object_handle object = msgpack::unpack(text.data(), text.size(), end, nullptr, nullptr, limit);
    if (end != text.size()) return Malformed{"the header has bytes behind its map"};
    return read_map(object.get());
  } catch (const std::exception&) {
    return Malformed{"the header is not msgpack"};
  }
}

proto::ByteVector encode_answer(const FileAnswer& answer) {
  proto::ByteVector out{static_cast<std::uint8_t>(answer.code)};
  if (answer.code == FileCode::kDone) return out;
  const std::size_t length = std::min(answer.text.size(), kMaxAnswerText);
  out.resize(3);
  proto::store_u16(out.data() + 1, static_cast<std::uint16_t>(length));
  append(out, answer.text.data(), length);
  return out;
}

AnswerOutcome decode_answer(proto::Bytes bytes) {
  if (bytes.empty()) return NeedMore{1};
  const auto code = static_cast<FileCode>(bytes[0]);
  if (code == FileCode::kDone) return FileAnswer{};
  if (bytes.size() < 3) return NeedMore{3 - bytes.size()};
  const std::size_t length = proto::load_u16(bytes.data() + 1);
  if (length > kMaxAnswerText) return Malformed{"the answer's text is longer than 1024 bytes"};
  if (bytes.size() < 3 + length) return NeedMore{3 + length - bytes.size()};
  return FileAnswer{code, std::string(proto::as_text(bytes.subspan(3, length)))};
}

ipc::Reason reason_of(FileCode code) {
  switch (code) {
    case FileCode::kDone:
      return ipc::Reason::kClosed;
    case FileCode::kFailed:
      return ipc::Reason::kInternal;
    case FileCode::kNoSpace:
    case FileCode::kTooLarge:
      return ipc::Reason::kResourceLimit;
    case FileCode::kMalformed:
    case FileCode::kWrongSum:
      return ipc::Reason::kProtocolError;
    case FileCode::kInterrupted:
      return ipc::Reason::kReset;
    case FileCode::kBadName:
      return ipc::Reason::kBadName;
    case FileCode::kTimedOut:
      return ipc::Reason::kTimedOut;
    case FileCode::kExists:
      return ipc::Reason::kDeclined;
  }
  return ipc::Reason::kDeclined;  // a code of a version to come: no file there, for a reason that its text has
}

}  // namespace connd::tools
