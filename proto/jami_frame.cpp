// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/jami_frame.h"

#include <algorithm>

#include "proto/error.h"
#include "proto/msgpack_objects.h"

namespace connd::proto {
namespace {

// The msgpack specification, "Formats".
constexpr std::uint8_t kFixArrayOfTwo = 0x92;
constexpr std::uint8_t kArray16 = 0xdc;
constexpr std::uint8_t kArray32 = 0xdd;
constexpr std::uint8_t kLastFixInt = 0x7f;
constexpr std::uint8_t kUint8 = 0xcc;  // then 16, 32 and 64 bits
constexpr std::uint8_t kUint64 = 0xcf;
constexpr std::uint8_t kUint16 = 0xcd;
constexpr std::uint8_t kBin8 = 0xc4;  // then 16 and 32 bits
constexpr std::uint8_t kBin16 = 0xc5;
constexpr std::uint8_t kBin32 = 0xc6;

std::uint64_t big_endian(Bytes bytes) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = (value << 8) | byte;
  return value;
}

/// The three numbers of a header, as far as `bytes` go.
class HeaderReader {
 public:
  explicit HeaderReader(Bytes bytes) : left_(bytes) {}

  std::uint64_t array_size() {
    const std::uint8_t tag = next_tag();
    if (tag == kFixArrayOfTwo) return 2;
    if (tag == kArray16) return number(2);
    if (tag == kArray32) return number(4);
    return bad();
  }
  std::uint64_t channel() {
    const std::uint8_t tag = next_tag();
    if (tag <= kLastFixInt) return tag;
    if (tag >= kUint8 && tag <= kUint64) return number(std::size_t{1} << (tag - kUint8));
    return bad();
  }
  std::uint64_t bin_size() {
    const std::uint8_t tag = next_tag();
    if (tag >= kBin8 && tag <= kBin32) return number(std::size_t{1} << (tag - kBin8));
    return bad();
  }
  [[nodiscard]] bool short_of_bytes() const { return short_; }
  [[nodiscard]] bool is_bad() const { return bad_; }

 private:
  std::uint8_t next_tag() { return static_cast<std::uint8_t>(number(1)); }
  std::uint64_t number(std::size_t bytes) {
    if (left_.size() < bytes) short_ = true;
    if (short_ || bad_) return 0;
    const std::uint64_t value = big_endian(left_.first(bytes));
    left_ = left_.subspan(bytes);
    return value;
  }
  std::uint64_t bad() {
    bad_ = bad_ || !short_;
    return 0;
  }

  Bytes left_;
  bool short_ = false;
  bool bad_ = false;
};

}  // namespace

void JamiFrameCodec::write_header(std::uint8_t* out, WireId channel, std::size_t length) const {
  assert(length <= kMaxFrameBody);
  out[0] = kFixArrayOfTwo;
  out[1] = kUint16;
  store_u16(out + 2, channel);
  out[4] = kBin16;
  store_u16(out + 5, static_cast<std::uint16_t>(length));
}

Result<std::optional<FramePiece>> JamiFrameCodec::next(Bytes& in) {
  if (!in_body_) {
    control_.clear();  // what the last piece pointed at
    const auto whole = read_header(in);
    if (!whole) return whole.error();
    if (!*whole) return std::optional<FramePiece>{};
    const bool control = channel_ == kControlChannel || channel_ == kReservedChannel;
    // PROTOCOL.md 17: "An empty bin is **EOF**. Channels 0 and 65535 are for control; a message there holds one or more
    // whole objects".
    if (body_left_ == 0) {
      if (control) return Errc::kEmptyControlFrame;
      return std::optional(FramePiece{FramePiece::Kind::kEnd, channel_, {}});
    }
    in_body_ = true;
  }
  return body(in);
}

/// Takes bytes one by one until they are a header; false when `in` ends before. PROTOCOL.md 17: "the msgpack array
/// `[channel, bin]`, the bin at most 65,535 bytes; any form of array, uint and bin head is read"; "Anything else ends
/// the connection."
Result<bool> JamiFrameCodec::read_header(Bytes& in) {
  while (!in.empty()) {
    header_[header_have_++] = in.front();
    in = in.subspan(1);
    HeaderReader reader(Bytes(header_).first(header_have_));
    const std::uint64_t elements = reader.array_size();
    if (reader.is_bad() || (!reader.short_of_bytes() && elements != 2)) return Errc::kBadJamiFrame;
    const std::uint64_t channel = reader.channel();
    if (reader.is_bad() || channel > kReservedChannel) return Errc::kBadJamiFrame;
    const std::uint64_t size = reader.bin_size();
    if (reader.is_bad() || size > kMaxFrameBody) return Errc::kBadJamiFrame;
    if (reader.short_of_bytes()) continue;
    channel_ = static_cast<WireId>(channel);
    body_left_ = static_cast<std::size_t>(size);
    header_have_ = 0;
    return true;
  }
  return false;
}

std::optional<FramePiece> JamiFrameCodec::body(Bytes& in) {
  if (in.empty()) return std::nullopt;
  const Bytes part = in.first(std::min(in.size(), body_left_));
  in = in.subspan(part.size());
  body_left_ -= part.size();
  in_body_ = body_left_ > 0;
  const bool control = channel_ == kControlChannel || channel_ == kReservedChannel;
  if (!control) return FramePiece{FramePiece::Kind::kData, channel_, part};
  if (!in_body_ && control_.empty()) return FramePiece{FramePiece::Kind::kControl, channel_, part};
  const bool fits = control_.append(part);  // a bin has at most 65,535 bytes, which is the buffer's bound
  assert(fits);
  (void)fits;
  if (in_body_) return std::nullopt;
  return FramePiece{FramePiece::Kind::kControl, channel_, control_.data()};
}

namespace jami {
namespace {

enum State : std::uint8_t { kRequest = 0, kAccept = 1, kDecline = 2 };

/// [name, id, state]. PROTOCOL.md 17: "states above 2 and negative ones are ignored and counted as noise"; "further
/// array elements are passed over. A wrong type where a type is stated ends the connection."
Result<control::Message> from_array(const msgpack::object_array& array) {
  if (array.size < 3 || !is_text(array.ptr[0]) || !is_uint(array.ptr[1])) return Errc::kBadControlObject;
  const msgpack::object& state = array.ptr[2];
  if (state.type == msgpack::type::NEGATIVE_INTEGER) return control::Message(control::Unknown{});
  if (!is_uint(state)) return Errc::kBadControlObject;
  std::string name(text_of(array.ptr[0]));
  const std::uint64_t id = array.ptr[1].via.u64;
  switch (state.via.u64) {
    case kRequest:
      return control::Message(control::ChannelRequest{std::move(name), id, false});
    case kAccept:
      return control::Message(control::ChannelRequest{std::move(name), id, true});
    case kDecline:
      return control::Message(control::Refuse{id, static_cast<std::uint64_t>(Reason::kDeclined), {}, std::move(name)});
    default:
      return control::Message(control::Unknown{});
  }
}

/// PROTOCOL.md 17: "Maps with other keys [...] are ignored and counted as noise".
Result<control::Message> from_map(const msgpack::object_map& map) {
  if (const msgpack::object* version = find_key(map, "v")) {
    if (!is_uint(*version)) return Errc::kBadControlObject;
    return control::Message(control::Hello{version->via.u64, kMaxChannels, kMaxName});
  }
  if (const msgpack::object* beacon = find_key(map, "p")) {
    if (beacon->type != msgpack::type::BOOLEAN) return Errc::kBadControlObject;
    return beacon->via.boolean ? control::Message(control::Ping{}) : control::Message(control::Pong{});
  }
  return control::Message(control::Unknown{});
}

struct Encoder {
  ByteVector& out;

  void operator()(const control::Hello& m) const {
    map_of_one("v", [&m](Packer& p) { p.pack_uint64(m.version); });
  }
  void operator()(const control::Ping& /*m*/) const {
    map_of_one("p", [](Packer& p) { p.pack_true(); });
  }
  void operator()(const control::Pong& /*m*/) const {
    map_of_one("p", [](Packer& p) { p.pack_false(); });
  }
  void operator()(const control::ChannelRequest& m) const {
    request(m.name, m.channel, m.is_answer ? kAccept : kRequest);
  }
  void operator()(const control::Refuse& m) const { request(m.name, m.channel, kDecline); }
  template <class Other>
  void operator()(const Other& /*m*/) const {}

 private:
  void message(WireId channel, const ByteVector& body) const {
    const std::size_t at = out.size();
    out.resize(at + JamiFrameCodec::kHeaderBytes);
    JamiFrameCodec().write_header(out.data() + at, channel, body.size());
    out.insert(out.end(), body.begin(), body.end());
  }
  void request(std::string_view name, std::uint64_t id, State state) const {
    ByteVector body;
    MsgpackSink sink{body};
    Packer p(sink);
    p.pack_array(3);
    put(p, name);
    p.pack_uint64(id);
    p.pack_uint64(state);
    message(kControlChannel, body);
  }
  template <class Value>
  void map_of_one(std::string_view key, Value value) const {
    ByteVector body;
    MsgpackSink sink{body};
    Packer p(sink);
    p.pack_map(1);
    put(p, key);
    value(p);
    message(kReservedChannel, body);
  }
};

}  // namespace

Result<std::vector<control::Message>> decode(Bytes body) {
  std::vector<control::Message> messages;
  std::size_t offset = 0;
  while (offset < body.size()) {
    const auto handle = unpack_one(body, offset);
    if (!handle) return Errc::kBadMsgpack;
    const msgpack::object& object = handle->get();
    Result<control::Message> message = Errc::kBadControlObject;
    if (object.type == msgpack::type::ARRAY) message = from_array(object.via.array);
    if (object.type == msgpack::type::MAP) message = from_map(object.via.map);
    if (!message) return message.error();
    messages.push_back(std::move(*message));
  }
  return messages;
}

void encode(const control::Message& message, ByteVector& out) {
  std::visit(Encoder{out}, message);
}

}  // namespace jami
}  // namespace connd::proto
