// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/control_queue.h"

#include <catch2/catch.hpp>

#include "proto/limits.h"

using namespace connd::proto;

namespace {

ByteVector object(std::size_t size, std::uint8_t byte = 'o') {
  return ByteVector(size, byte);
}

/// What a queue gives when it is flushed to its end.
ByteVector flushed(ControlQueue& queue) {
  Buffer out(std::size_t{32} << 20);
  queue.flush(out, out.room());
  return {out.data().begin(), out.data().end()};
}

}  // namespace

TEST_CASE("ControlQueue: objects share a frame, and the end of a channel comes behind them") {
  NativeFrameCodec codec;
  ControlQueue queue(codec, true);
  REQUIRE(queue.add(object(3, 1)));
  REQUIRE(queue.add(object(2, 2)));
  queue.add_end(0x8001);
  REQUIRE(queue.add(object(1, 3)));
  CHECK(queue.size() == 4 + 5 + 4 + 1);  // the last one has no header yet
  CHECK((flushed(queue) == ByteVector{0, 5, 0, 0, 1, 1, 1, 2, 2, 0, 0, 0x80, 1, 0, 1, 0, 0, 3}));
  CHECK(queue.empty());
  CHECK(queue.size() == 0);
}

TEST_CASE("ControlQueue: a frame ends where the next object would make it too long") {
  NativeFrameCodec codec;
  ControlQueue queue(codec, true);
  REQUIRE(queue.add(object(kControlFrameTarget - 1)));
  REQUIRE(queue.add(object(2)));
  CHECK(flushed(queue).size() == kControlFrameTarget - 1 + 2 + 2 * NativeFrameCodec::kHeaderBytes);
}

TEST_CASE("ControlQueue: it stops at the target, and goes on") {
  NativeFrameCodec codec;
  ControlQueue queue(codec, true);
  for (int i = 0; i < 10; ++i) REQUIRE(queue.add(object(kControlFrameTarget)));
  Buffer out(std::size_t{1} << 20);
  queue.flush(out, 1);
  CHECK(out.size() < 2 * (kControlFrameTarget + NativeFrameCodec::kHeaderBytes));
  CHECK_FALSE(queue.empty());
  queue.flush(out, out.room());
  CHECK(out.size() == 10 * (kControlFrameTarget + NativeFrameCodec::kHeaderBytes));
}

TEST_CASE("ControlQueue: it says when its bound is passed, and takes nothing more") {
  NativeFrameCodec codec;
  ControlQueue queue(codec, true);
  std::size_t added = 0;
  while (queue.add(object(60'000))) added += 60'000;
  CHECK(added <= kMaxControlBacklog);
  const std::size_t full = queue.size();
  CHECK(full > kMaxControlBacklog);
  CHECK_FALSE(queue.add(object(60'000)));
  CHECK(queue.size() == full);
  queue.clear();
  CHECK(queue.empty());
  CHECK(queue.add(object(1)));
}
