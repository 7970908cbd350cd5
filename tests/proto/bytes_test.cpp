// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/bytes.h"

#include <numeric>

#include <catch2/catch.hpp>

using namespace connd::proto;

TEST_CASE("ByteReader reads big-endian and stays failed") {
  const ByteVector in{1, 2, 3, 4, 5, 6, 7};
  ByteReader reader(in);
  CHECK(reader.u8() == 1);
  CHECK(reader.u16() == 0x0203);
  CHECK(reader.u32() == 0x04050607);
  CHECK(reader.at_end());
  CHECK_FALSE(reader.failed());
  CHECK(reader.u8() == 0);
  CHECK(reader.failed());

  ByteReader shorter(Bytes(in).first(3));
  CHECK(shorter.u32() == (0x0102u << 16));
  CHECK(shorter.failed());
  CHECK(shorter.take(0).empty());
  CHECK(shorter.rest().empty());
}

TEST_CASE("hex round trip, and what is refused") {
  std::array<std::uint8_t, 4> out{};
  CHECK(from_hex("00fFa17e", out));
  CHECK(to_hex(out) == "00ffa17e");
  CHECK_FALSE(from_hex("00ffa17", out));
  CHECK_FALSE(from_hex("00ffa17e0", out));
  CHECK_FALSE(from_hex("00ffa17g", out));
}

TEST_CASE("Buffer keeps order through growth and wrap, and keeps its bound") {
  Buffer buffer(10'000);
  std::uint8_t next_in = 0;
  std::uint8_t next_out = 0;
  std::size_t held = 0;
  for (std::size_t round = 0; round < 2000; ++round) {
    const std::size_t n = round * 7919 % 601;
    ByteVector chunk(n);
    for (auto& b : chunk) b = next_in++;
    if (buffer.append(chunk)) {
      held += n;
    } else {
      REQUIRE(held + n > 10'000);
      next_in = static_cast<std::uint8_t>(next_in - n);
    }
    REQUIRE(buffer.size() == held);
    const std::size_t out = std::min<std::size_t>(held, round * 104729 % 599);
    for (std::uint8_t b : buffer.data().first(out)) REQUIRE(b == next_out++);
    buffer.consume(out);
    held -= out;
  }
  CHECK(buffer.room() == 10'000 - held);
}

TEST_CASE("Buffer in place: prepare shows room, commit adds") {
  Buffer buffer(100);
  auto space = buffer.prepare(100);
  CHECK(space.size() == 100);
  std::iota(space.begin(), space.end(), std::uint8_t{0});
  buffer.commit(3);
  CHECK(buffer.size() == 3);
  CHECK(buffer.data()[2] == 2);
  buffer.consume(3);
  buffer.release();
  CHECK(buffer.empty());
  const ByteVector too_much(101);
  CHECK_FALSE(buffer.append(too_much));
}
