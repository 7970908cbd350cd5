// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/heap_trim.h"

#include <catch2/catch.hpp>

using connd::daemon::HeapTrim;

namespace {

/// What lives, and its trim.
struct Heap {
  void begin(std::size_t count) {
    begun += count;
    living += count;
  }
  bool due_after_end(std::size_t count) {
    living -= count;
    return trim.due(begun, living);
  }
  HeapTrim trim;
  std::size_t begun = 0;
  std::size_t living = 0;
};

}  // namespace

TEST_CASE("the heap is trimmed when as many have ended as live, and again only after as many more") {
  Heap heap;
  CHECK_FALSE(heap.due_after_end(0));
  heap.begin(8'000);
  CHECK_FALSE(heap.due_after_end(0));
  CHECK_FALSE(heap.due_after_end(3'999));
  CHECK(heap.due_after_end(1));
  CHECK_FALSE(heap.due_after_end(0));
  CHECK_FALSE(heap.due_after_end(1'999));
  CHECK(heap.due_after_end(1));
  CHECK(heap.due_after_end(2'000));
  CHECK_FALSE(heap.due_after_end(0));
}

TEST_CASE("the heap is trimmed after many that came and went between two looks") {
  Heap heap;
  heap.begin(2);
  CHECK_FALSE(heap.due_after_end(0));
  heap.begin(HeapTrim::kMinEnded);
  CHECK(heap.due_after_end(HeapTrim::kMinEnded));
  CHECK_FALSE(heap.due_after_end(0));
}

TEST_CASE("the heap is trimmed after many, however few of them live at a time") {
  Heap heap;
  std::size_t trims = 0;
  for (std::size_t i = 0; i < 10 * HeapTrim::kMinEnded; ++i) {
    heap.begin(1);
    if (heap.due_after_end(1)) ++trims;
  }
  CHECK(trims == 10);
}

TEST_CASE("the heap is not trimmed for a few") {
  Heap heap;
  heap.begin(HeapTrim::kMinEnded - 1);
  CHECK_FALSE(heap.due_after_end(heap.living));
  heap.begin(1'000);
  CHECK_FALSE(heap.due_after_end(400));
}

TEST_CASE("the heap is trimmed once more when the last of many has gone") {
  Heap heap;
  heap.begin(100);
  CHECK(heap.due_after_end(70));
  CHECK_FALSE(heap.due_after_end(20));
  CHECK(heap.due_after_end(10));
  heap.begin(1);
  CHECK_FALSE(heap.due_after_end(1));
}
