// SPDX-License-Identifier: GPL-3.0-or-later
/// What a FrameCodec makes of a stream, as text.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "proto/frame.h"

namespace connd::tests {

/// All pieces of `stream`, fed `step` bytes at a time: KIND/CHANNEL:HEX, data joined; behind them ` ! ` and the error's
/// text if there is one.
template <class Codec>
std::string decode_pieces(proto::Bytes stream, std::size_t step) {
  Codec codec;
  std::string log;
  proto::WireId data_channel = 0;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    proto::Bytes in = stream.subspan(at, std::min(step, stream.size() - at));
    for (;;) {
      auto piece = codec.next(in);
      if (!piece) return log + " ! " + piece.error().message();
      if (!*piece) break;
      const proto::FramePiece& p = **piece;
      const bool more = p.kind == proto::FramePiece::Kind::kData && data_channel == p.channel;
      if (!more) log += " " + std::to_string(static_cast<int>(p.kind)) + "/" + std::to_string(p.channel) + ":";
      log += proto::to_hex(p.body);
      data_channel = p.kind == proto::FramePiece::Kind::kData ? p.channel : proto::WireId{0};
    }
    CHECK(in.empty());
  }
  return log;
}

inline proto::ByteVector hex_bytes(std::string_view text) {
  proto::ByteVector out(text.size() / 2);
  REQUIRE(proto::from_hex(text, out));
  return out;
}

}  // namespace connd::tests
