// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/heap_trim.h"

#include <catch2/catch.hpp>

using connd::daemon::HeapTrim;

TEST_CASE("the heap is trimmed once after much has ended, and again only after much more") {
  HeapTrim trim;
  CHECK_FALSE(trim.due(0));
  CHECK_FALSE(trim.due(8'000));
  CHECK_FALSE(trim.due(4'001));
  CHECK(trim.due(4'000));
  CHECK_FALSE(trim.due(3'999));
  CHECK_FALSE(trim.due(2'001));
  CHECK(trim.due(2'000));
  CHECK(trim.due(0));
  CHECK_FALSE(trim.due(0));
}

TEST_CASE("the heap is trimmed after many that came and went between two looks") {
  HeapTrim trim;
  CHECK_FALSE(trim.due(2));
  trim.saw(HeapTrim::kMinEnded + 2);
  CHECK(trim.due(2));
  CHECK_FALSE(trim.due(2));
}

TEST_CASE("the heap is not trimmed for a few") {
  HeapTrim trim;
  CHECK_FALSE(trim.due(HeapTrim::kMinEnded - 1));
  CHECK_FALSE(trim.due(0));
  CHECK_FALSE(trim.due(HeapTrim::kMinEnded));
  CHECK(trim.due(0));
}

TEST_CASE("the heap is trimmed once more when the last of many has gone") {
  HeapTrim trim;
  CHECK_FALSE(trim.due(800));
  CHECK(trim.due(200));
  CHECK_FALSE(trim.due(100));
  CHECK(trim.due(0));
  CHECK_FALSE(trim.due(1));
  CHECK_FALSE(trim.due(0));
}
