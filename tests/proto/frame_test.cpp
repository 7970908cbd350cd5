// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/frame.h"

#include <tuple>

#include <catch2/catch.hpp>

#include "proto/error.h"

using namespace connd::proto;

namespace {

/// All pieces of `stream`, fed `step` bytes at a time, data joined; the error text at the end if there is one.
std::string decode(Bytes stream, std::size_t step) {
  NativeFrameCodec codec;
  std::string log;
  WireId data_channel = 0;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    Bytes in = stream.subspan(at, std::min(step, stream.size() - at));
    for (;;) {
      auto piece = codec.next(in);
      if (!piece) return log + " ! " + piece.error().message();
      if (!*piece) break;
      const FramePiece& p = **piece;
      const bool more = p.kind == FramePiece::Kind::kData && data_channel == p.channel;
      if (!more) log += " " + std::to_string(static_cast<int>(p.kind)) + "/" + std::to_string(p.channel) + ":";
      log += to_hex(p.body);
      data_channel = p.kind == FramePiece::Kind::kData ? p.channel : WireId{0};
    }
    CHECK(in.empty());
  }
  return log;
}

ByteVector hex(std::string_view text) {
  ByteVector out(text.size() / 2);
  REQUIRE(from_hex(text, out));
  return out;
}

}  // namespace

TEST_CASE("native frames: vectors, and the same whatever the cuts") {
  const auto [stream, expected] =
      GENERATE(std::tuple<std::string, std::string>{"00038000"
                                                    "616263",
                                                    " 1/32768:616263"},
               std::tuple<std::string, std::string>{"00000007", " 2/7:"},
               std::tuple<std::string, std::string>{"00020000"
                                                    "93c0",
                                                    " 0/0:93c0"},
               std::tuple<std::string, std::string>{"00010001"
                                                    "61"
                                                    "00000001"
                                                    "00020000"
                                                    "0102"
                                                    "00010002"
                                                    "62",
                                                    " 1/1:61 2/1: 0/0:0102 1/2:62"},
               std::tuple<std::string, std::string>{"0001ffff"
                                                    "00",
                                                    " ! a frame on the reserved channel 0xffff"},
               std::tuple<std::string, std::string>{"00000000", " ! an empty frame on the control channel"});
  const ByteVector bytes = hex(stream);
  for (std::size_t step = 1; step <= bytes.size(); ++step) CHECK(decode(bytes, step) == expected);
}

TEST_CASE("native frames: every truncation only waits for more") {
  const ByteVector bytes =
      hex("00030000"
          "010203"
          "00030001"
          "616263");
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    CHECK(decode(Bytes(bytes).first(n), bytes.size()).find('!') == std::string::npos);
  }
}

TEST_CASE("data comes as spans of the input, before the frame is whole") {
  NativeFrameCodec codec;
  const ByteVector bytes =
      hex("ffff0005"
          "616263");
  Bytes in = bytes;
  auto piece = codec.next(in);
  REQUIRE(piece.ok());
  REQUIRE(*piece);
  CHECK((*piece)->body.data() == bytes.data() + 4);
  CHECK((*piece)->body.size() == 3);
}
