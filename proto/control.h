// SPDX-License-Identifier: GPL-3.0-or-later
/// The objects of the native control channel, and their msgpack form (PROTOCOL.md, "Control objects").
///
/// ChannelRequest is the array [name, channel, isAnswer]; everything else is a map with a str key `t`.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "proto/bytes.h"
#include "proto/limits.h"
#include "proto/result.h"

namespace connd::proto::control {

struct Hello {
  std::uint64_t version = kProtocolVersion;
  std::uint64_t max_channels = kMaxChannels;
  std::uint64_t max_name = kMaxName;
};
/// Both forms of ChannelRequest: a request, and the answer that repeats it.
struct ChannelRequest {
  std::string name;
  std::uint64_t channel = 0;
  bool is_answer = false;
};
struct Window {
  std::uint64_t channel = 0;
  std::uint64_t bytes = 0;
};
struct Refuse {
  std::uint64_t channel = 0;
  std::uint64_t code = 0;
  std::string text;
  std::string name{};  ///< Jami's dialect repeats the request's and has no code and text; ours is the other way round
};
struct Reset {
  std::uint64_t channel = 0;
  std::uint64_t code = 0;
  std::string text;
};
struct Ping {
  std::uint64_t number = 0;
};
struct Pong {
  std::uint64_t number = 0;
};
struct GoAway {
  std::uint64_t code = 0;
  std::string text;
};
struct Unique {
  std::uint64_t channel = 0;
};
/// A map whose `t` we do not know: ignored, but counted.
struct Unknown {};

using Message = std::variant<Hello, ChannelRequest, Window, Refuse, Reset, Ping, Pong, GoAway, Unique, Unknown>;

/// All objects of one control frame's body. Errc::kBadMsgpack when it is not whole objects within the limits of
/// limits.h, Errc::kBadControlObject when an object has the wrong shape. Nothing is returned of a frame that has one
/// bad object. Texts longer than kMaxText are cut; names are kept as they came.
Result<std::vector<Message>> decode(Bytes body);

/// Appends the msgpack form of `message`; Unknown has none.
void encode(const Message& message, ByteVector& out);

}  // namespace connd::proto::control
