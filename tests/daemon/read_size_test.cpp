// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/read_size.h"

#include <catch2/catch.hpp>

using connd::daemon::PumpScratch;
using connd::daemon::ReadSize;

TEST_CASE("ReadSize: it grows with what is read, up to the buffer, and falls back") {
  ReadSize size;
  CHECK(size.begin() == ReadSize::kFirst);
  size.end(ReadSize::kFirst);
  CHECK(size.begin() == 2 * ReadSize::kFirst);
  for (int i = 0; i < 10; ++i) size.end(size.begin());
  CHECK(size.begin() == PumpScratch::kBytes);
  size.end(100);
  CHECK(size.begin() == ReadSize::kFirst);
}

TEST_CASE("ReadSize: much work in one read makes the next one smaller, and not nothing") {
  ReadSize size;
  CHECK(size.begin() == ReadSize::kFirst);
  for (std::size_t i = 0; i < 2 * ReadSize::kEvents; ++i) size.event();
  size.end(ReadSize::kFirst);
  CHECK(size.begin() == ReadSize::kFirst / 2);
  for (std::size_t i = 0; i < 100 * ReadSize::kEvents; ++i) size.event();
  size.end(ReadSize::kFirst);
  CHECK(size.begin() == ReadSize::kLeast);
  size.end(ReadSize::kLeast);  // no work: as much as at first
  CHECK(size.begin() == ReadSize::kFirst);
}
