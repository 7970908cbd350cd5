// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/control.h"

#include "proto/error.h"
#include "proto/msgpack_objects.h"

namespace connd::proto::control {
namespace {

// ---- decoding ----

/// One map object, looked at by key. PROTOCOL.md 9: "A missing or mistyped member of a known `t` is an error, except
/// `text`, which may be missing (empty)."
class Members {
 public:
  explicit Members(const msgpack::object_map& map) : map_(map) {}

  [[nodiscard]] const msgpack::object* find(std::string_view key) const { return find_key(map_, key); }
  std::uint64_t number(std::string_view key) {
    const msgpack::object* o = find(key);
    if (o == nullptr || !is_uint(*o)) {
      bad_ = true;
      return 0;
    }
    return o->via.u64;
  }
  /// PROTOCOL.md 9: `text` is "cut to 256 bytes by sender and receiver".
  std::string text(std::string_view key) {
    const msgpack::object* o = find(key);
    if (o == nullptr) return {};
    if (!is_text(*o)) {
      bad_ = true;
      return {};
    }
    return std::string(text_of(*o).substr(0, kMaxText));
  }
  [[nodiscard]] bool bad() const { return bad_; }

 private:
  const msgpack::object_map& map_;
  bool bad_ = false;
};

/// PROTOCOL.md 9: "A ChannelRequest is exactly `[name: str, channel: uint, isAnswer: bool]`."
Result<Message> from_array(const msgpack::object_array& array) {
  if (array.size != 3 || !is_text(array.ptr[0]) || !is_uint(array.ptr[1]) ||
      array.ptr[2].type != msgpack::type::BOOLEAN) {
    return Errc::kBadControlObject;
  }
  return Message(ChannelRequest{std::string(text_of(array.ptr[0])), array.ptr[1].via.u64, array.ptr[2].via.boolean});
}

Message known_map(std::string_view type, Members& m) {
  if (type == "window") return Window{m.number("c"), m.number("n")};
  if (type == "hello") return Hello{m.number("v"), m.number("max_channels"), m.number("max_name")};
  if (type == "refuse") return Refuse{m.number("c"), m.number("code"), m.text("text")};
  if (type == "reset") return Reset{m.number("c"), m.number("code"), m.text("text")};
  if (type == "ping") return Ping{m.number("n")};
  if (type == "pong") return Pong{m.number("n")};
  if (type == "goaway") return GoAway{m.number("code"), m.text("text")};
  if (type == "unique") return Unique{m.number("c")};
  return Unknown{};
}

Result<Message> from_map(const msgpack::object_map& map) {
  Members members(map);
  // PROTOCOL.md 9: "a map without a str `t`: connection error".
  const msgpack::object* type = members.find("t");
  if (type == nullptr || !is_text(*type)) return Errc::kBadControlObject;
  Message message = known_map(text_of(*type), members);
  if (members.bad()) return Errc::kBadControlObject;
  return message;
}

Result<Message> from_object(const msgpack::object& object) {
  if (object.type == msgpack::type::ARRAY) return from_array(object.via.array);
  if (object.type == msgpack::type::MAP) return from_map(object.via.map);
  // PROTOCOL.md 9: "anything that is neither array nor map": connection error.
  return Errc::kBadControlObject;
}

// ---- encoding ----

void put(Packer& p, std::string_view key, std::uint64_t value) {
  put(p, key);
  p.pack_uint64(value);
}
void put(Packer& p, std::string_view key, std::string_view value) {
  put(p, key);
  put(p, value.substr(0, kMaxText));
}
void put_type(Packer& p, std::uint32_t members, std::string_view type) {
  p.pack_map(members + 1);
  put(p, "t", type);
}

struct Encoder {
  Packer& p;

  void operator()(const Hello& m) const {
    put_type(p, 3, "hello");
    put(p, "v", m.version);
    put(p, "max_channels", m.max_channels);
    put(p, "max_name", m.max_name);
  }
  void operator()(const ChannelRequest& m) const {
    p.pack_array(3);
    put(p, m.name);
    p.pack_uint64(m.channel);
    m.is_answer ? p.pack_true() : p.pack_false();
  }
  void operator()(const Window& m) const {
    put_type(p, 2, "window");
    put(p, "c", m.channel);
    put(p, "n", m.bytes);
  }
  void operator()(const Refuse& m) const { ended("refuse", m.channel, m.code, m.text); }
  void operator()(const Reset& m) const { ended("reset", m.channel, m.code, m.text); }
  void operator()(const Ping& m) const { numbered("ping", "n", m.number); }
  void operator()(const Pong& m) const { numbered("pong", "n", m.number); }
  void operator()(const GoAway& m) const {
    put_type(p, 2, "goaway");
    put(p, "code", m.code);
    put(p, "text", m.text);
  }
  void operator()(const Unique& m) const { numbered("unique", "c", m.channel); }
  void operator()(const Unknown&) const {}

 private:
  void numbered(std::string_view type, std::string_view key, std::uint64_t value) const {
    put_type(p, 1, type);
    put(p, key, value);
  }
  void ended(std::string_view type, std::uint64_t channel, std::uint64_t code, std::string_view text) const {
    put_type(p, 3, type);
    put(p, "c", channel);
    put(p, "code", code);
    put(p, "text", text);
  }
};

}  // namespace

Result<std::vector<Message>> decode(Bytes body) {
  std::vector<Message> messages;
  std::size_t offset = 0;
  while (offset < body.size()) {
    const auto handle = unpack_one(body, offset);
    // PROTOCOL.md 9: "Bytes that are no whole object [...]: connection error, and nothing of that frame is treated."
    if (!handle) return Errc::kBadMsgpack;
    Result<Message> message = from_object(handle->get());
    if (!message) return message.error();
    messages.push_back(std::move(*message));
  }
  return messages;
}

void encode(const Message& message, ByteVector& out) {
  MsgpackSink sink{out};
  Packer packer(sink);
  std::visit(Encoder{packer}, message);
}

}  // namespace connd::proto::control
