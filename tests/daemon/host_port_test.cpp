// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/host_port.h"

#include <catch2/catch.hpp>

using namespace connd::daemon;

TEST_CASE("hosts with and without ports") {
  struct Row {
    std::string text, host;
    std::uint16_t port;
    std::string again;
  };
  const Row rows[] = {{"bootstrap.jami.net", "bootstrap.jami.net", 4222, "bootstrap.jami.net:4222"},
                      {"a_b-c.d:1", "a_b-c.d", 1, "a_b-c.d:1"},
                      {"10.0.0.1:65535", "10.0.0.1", 65535, "10.0.0.1:65535"},
                      {"[::1]:5000", "::1", 5000, "[::1]:5000"},
                      {"[2001:db8::1]", "2001:db8::1", 4222, "[2001:db8::1]:4222"},
                      {"2001:db8::1", "2001:db8::1", 4222, "[2001:db8::1]:4222"},
                      {"[fe80::1%eth0]:7", "fe80::1%eth0", 7, "[fe80::1%eth0]:7"}};
  for (const Row& row : rows) {
    INFO(row.text);
    const auto parsed = HostPort::parse(row.text, 4222);
    REQUIRE(parsed);
    CHECK(*parsed == HostPort{row.host, row.port});
    CHECK(parsed->text() == row.again);
    CHECK(*HostPort::parse(row.again, 1) == *parsed);
  }
}

TEST_CASE("what is no host and port") {
  for (const std::string& text :
       {std::string(), std::string(":1"), std::string("a:"), std::string("a:0"), std::string("a:65536"),
        std::string("a:1x"), std::string("a:-1"), std::string("a b"), std::string("[::1"), std::string("[::1]x"),
        std::string("[::1]:"), std::string("[10.0.0.1]:1"), std::string("1:2:3"), std::string("[]"), std::string("a/b"),
        std::string(254, 'a'), std::string("a\n:1")}) {
    INFO(text);
    CHECK(!HostPort::parse(text, 4222));
  }
}
