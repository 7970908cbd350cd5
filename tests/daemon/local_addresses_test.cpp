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

TEST_CASE("public addresses are told from those of a network's own") {
  for (const char* yes : {"11.0.113.10", "1.1.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "172.15.0.1",
                          "192.169.0.1", "223.255.255.255", "2001:db8::1", "3fff::1"}) {
    INFO(yes);
    CHECK(is_public(yes));
  }
  for (const char* no : {"10.0.0.1",    "100.64.0.1",  "100.127.255.255", "172.16.0.1",
                         "172.31.0.1",  "192.168.0.1", "192.0.0.8",       "127.0.0.1",
                         "169.254.0.1", "0.0.0.0",     "224.0.0.1",       "255.255.255.255",
                         "::",          "::1",         "fe80::1",         "fc00::1",
                         "fd00::1",     "ff02::1",     "64:ff9b::1",      "::ffff:1.1.1.1",
                         "1.1.1",       "here"}) {
    INFO(no);
    CHECK_FALSE(is_public(no));
  }
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
