// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/nice_candidate.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace connd::daemon;

namespace {

constexpr const char* kPassive = "7 1 TCP 1015022079 192.0.2.7 40001 typ host tcptype passive";

std::string round_trip(const std::string& line) {
  const auto candidate = from_line(line, 1, false);
  if (candidate == nullptr) return "(rejected)";
  return to_line(*candidate).value_or("(no line)");
}

}  // namespace

TEST_CASE("lines go through libnice's candidate unchanged") {
  for (const std::string line : {
           kPassive,
           "Hc0a80101 1 TCP 1 10.0.0.1 9 typ host tcptype active",
           "a+/b 1 TCP 4294967295 2001:db8::7 65535 typ prflx tcptype so",
           "9 1 TCP 5 198.51.100.1 1 typ srflx tcptype passive",
           "9 1 TCP 5 198.51.100.1 1 typ relay tcptype passive",
       }) {
    CHECK(round_trip(line) == line);
  }
}

TEST_CASE("an active candidate's port is 9 whatever it says, RFC 6544 4.5") {
  const std::string expected = "7 1 TCP 5 192.0.2.7 9 typ host tcptype active";
  CHECK(round_trip("7 1 TCP 5 192.0.2.7 0 typ host tcptype active") == expected);
  CHECK(round_trip("7 1 tcp 5 192.0.2.7 4711 typ host tcptype active") == expected);
}

TEST_CASE("extensions are skipped") {
  CHECK(round_trip("7 1 TCP 5 192.0.2.7 80 typ srflx raddr 10.0.0.1 rport 9 tcptype passive generation 0\r") ==
        "7 1 TCP 5 192.0.2.7 80 typ srflx tcptype passive");
}

TEST_CASE("what is malformed or not to be connected to is rejected") {
  for (const std::string line : {
           "",
           "7",
           "7 1 TCP 5 192.0.2.7 80 typ",
           "7 1 TCP 5 192.0.2.7 80 typ host",                           // no tcptype
           "7 1 TCP 5 192.0.2.7 80 typ host tcptype",                   // no value
           "7 1 TCP 5 192.0.2.7 80 typ host tcptype both",              // unknown
           "7 1 TCP 5 192.0.2.7 80 type host tcptype passive",          // not `typ`
           "7 1 TCP 5 192.0.2.7 80 typ guest tcptype passive",          //
           "7 1 UDP 5 192.0.2.7 80 typ host",                           //
           "7 2 TCP 5 192.0.2.7 80 typ host tcptype passive",           // another component
           "7 1 TCP 0 192.0.2.7 80 typ host tcptype passive",           // priority below 1
           "7 1 TCP 4294967296 192.0.2.7 80 typ host tcptype passive",  //
           "7 1 TCP -5 192.0.2.7 80 typ host tcptype passive",          //
           "7 1 TCP 5 192.0.2.7 0 typ host tcptype passive",            //
           "7 1 TCP 5 192.0.2.7 65536 typ host tcptype passive",        //
           "7 1 TCP 5 192.0.2.7 8x typ host tcptype passive",           //
           "7 1 TCP 5 example.org 80 typ host tcptype passive",         //
           "7 1 TCP 5 192.0.2 80 typ host tcptype passive",             //
           "7 1 TCP 5 127.0.0.1 80 typ host tcptype passive",           //
           "7 1 TCP 5 ::1 80 typ host tcptype passive",                 //
           "7 1 TCP 5 0.0.0.0 80 typ host tcptype passive",             //
           "7 1 TCP 5 :: 80 typ host tcptype passive",                  //
           "7 1 TCP 5 224.0.0.1 80 typ host tcptype passive",           //
           "7 1 TCP 5 255.255.255.255 80 typ host tcptype passive",     //
           "7 1 TCP 5 ff02::1 80 typ host tcptype passive",             //
           "7 1 TCP 5 fe80::1 80 typ host tcptype passive",             //
           "7 1 TCP 5 fe80::1%eth0 80 typ host tcptype passive",        //
           "7 1 TCP 5 ::ffff:127.0.0.1 80 typ host tcptype passive",    //
           "012345678901234567890123456789012 1 TCP 5 192.0.2.7 80 typ host tcptype passive",
       }) {
    INFO(line);
    CHECK(from_line(line, 1, false) == nullptr);
  }
  CHECK(from_line(std::string(kPassive) + std::string(500, ' '), 1, false) == nullptr);
  CHECK(from_line("7 1 TCP 5 127.0.0.1 80 typ host tcptype passive", 1, true) != nullptr);
}

TEST_CASE("every truncation of a line is survived") {
  const std::string line = kPassive;
  for (std::size_t n = 0; n < line.size(); ++n) CHECK(from_line(line.substr(0, n), 1, false) == nullptr);
}

TEST_CASE("the good lines among many bad ones are used, up to the limit") {
  std::vector<std::string> lines(500, "junk");
  for (int i = 0; i < 100; ++i) {
    lines.push_back("7 1 TCP 5 192.0.2.7 " + std::to_string(1000 + i) + " typ host tcptype passive");
  }
  const auto candidates = from_lines(lines, 3, false);
  REQUIRE(candidates.size() == kMaxRemoteCandidates);
  CHECK(candidates.front()->stream_id == 3);
  CHECK(printable(candidates.front()->addr) == "192.0.2.7:1000");
}

TEST_CASE("addresses are printed so that the port can be told") {
  const auto v6 = from_line("7 1 TCP 5 2001:db8::7 80 typ host tcptype passive", 1, false);
  REQUIRE(v6 != nullptr);
  CHECK(printable(v6->addr) == "[2001:db8::7]:80");
}
