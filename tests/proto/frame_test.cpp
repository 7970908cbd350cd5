// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/frame.h"

#include <tuple>

#include <catch2/catch.hpp>

#include "proto/error.h"
#include "tests/proto/decode_pieces.h"

using namespace connd::proto;

namespace {

std::string decode(Bytes stream, std::size_t step) {
  return connd::tests::decode_pieces<NativeFrameCodec>(stream, step);
}

ByteVector hex(std::string_view text) {
  return connd::tests::hex_bytes(text);
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
