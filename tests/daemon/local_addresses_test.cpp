// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/local_addresses.h"

#include <algorithm>

#include <catch2/catch.hpp>

using namespace connd::daemon;

TEST_CASE("loopback addresses are told from others") {
  CHECK(is_loopback("127.0.0.1"));
  CHECK(is_loopback("127.8.9.1"));
  CHECK(is_loopback("::1"));
  CHECK_FALSE(is_loopback("128.0.0.1"));
  CHECK_FALSE(is_loopback("fe80::1"));
  CHECK_FALSE(is_loopback("localhost"));
}

TEST_CASE("loopback is offered on request or when there is nothing else, link-local never") {
  const auto plain = local_addresses(false).value();
  const auto all = local_addresses(true).value();
  REQUIRE_FALSE(all.empty());  // `lo` is up wherever tests run
  CHECK(std::any_of(all.begin(), all.end(), is_loopback));
  CHECK(all.size() <= kMaxLocalAddresses);
  for (const auto& address : all) CHECK(address.rfind("fe80:", 0) != 0);
  const bool only_loopback = std::all_of(plain.begin(), plain.end(), is_loopback);
  const bool no_loopback = std::none_of(plain.begin(), plain.end(), is_loopback);
  CHECK((only_loopback || no_loopback));
}
