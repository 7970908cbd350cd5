// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/chunk_queue.h"

#include <random>

#include <catch2/catch.hpp>

using namespace connd::proto;

TEST_CASE("chunk queue: what goes in comes out, in order, in any sizes") {
  std::mt19937 random(7);  // the same each time
  ChunkQueue queue(400'000);
  std::uint8_t next_in = 0;
  std::uint8_t next_out = 0;
  std::size_t held = 0;
  bool same = true;
  for (int round = 0; round < 20'000; ++round) {
    ByteVector in(random() % (round % 7 == 0 ? 70'000 : 300));
    if (held + in.size() <= 400'000) {
      for (auto& byte : in) byte = next_in++;
      REQUIRE(queue.append(in));
      held += in.size();
    } else {
      REQUIRE_FALSE(queue.append(in));
    }
    REQUIRE(queue.size() == held);
    REQUIRE(queue.empty() == (held == 0));
    REQUIRE(queue.data().empty() == (held == 0));
    const std::size_t n = std::min<std::size_t>(queue.data().size(), random() % 12'000);
    for (const std::uint8_t byte : queue.data().first(n)) same &= byte == next_out++;
    queue.consume(n);
    held -= n;
  }
  CHECK(same);
}

TEST_CASE("chunk queue: its bound") {
  ChunkQueue queue(10);
  CHECK(queue.append(ByteVector(10)));
  CHECK_FALSE(queue.append(ByteVector(1)));
  CHECK(queue.append({}));
  queue.consume(3);
  CHECK(queue.size() == 7);
  CHECK(queue.append(ByteVector(3)));
  CHECK_FALSE(queue.append(ByteVector(1)));
}
