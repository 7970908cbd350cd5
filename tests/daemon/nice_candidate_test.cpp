// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/nice_candidate.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace connd::daemon;
using namespace connd::proto;

namespace {

NiceCandidatePtr nice(const std::string& line, bool allow_loopback = false) {
  const auto candidate = parse_candidate(line);
  return candidate ? to_nice(*candidate, 1, allow_loopback) : nullptr;
}

}  // namespace

TEST_CASE("candidates go through libnice's form unchanged") {
  for (const std::string line : {
           "7 1 TCP 1015022079 192.0.2.7 40001 typ host tcptype passive",
           "Hc0a80101 1 TCP 1 10.0.0.1 9 typ host tcptype active",
           "a+/b 1 TCP 2147483647 2001:db8::7 65535 typ prflx tcptype so",
           "9 1 TCP 5 198.51.100.1 1 typ srflx tcptype passive",
           "9 1 TCP 5 198.51.100.1 1 typ relay tcptype passive",
       }) {
    INFO(line);
    const auto candidate = nice(line);
    REQUIRE(candidate != nullptr);
    const auto back = to_proto(*candidate);
    REQUIRE(back);
    CHECK(connd::proto::to_line(*back) == line);
  }
}

TEST_CASE("an active candidate's port is 9 whatever it says, RFC 6544 4.5") {
  Candidate candidate;
  candidate.foundation = "7";
  candidate.priority = 5;
  candidate.address = "192.0.2.7";
  candidate.tcp_type = TcpType::kActive;
  for (const int port : {0, 4711}) {
    candidate.port = static_cast<std::uint16_t>(port);
    const auto out = to_nice(candidate, 1, false);
    REQUIRE(out != nullptr);
    CHECK(to_proto(*out)->port == 9);
  }
}

TEST_CASE("what is not to be connected to is rejected") {
  for (const std::string line : {
           "7 1 UDP 5 192.0.2.7 80 typ host",
           "7 1 TCP 5 127.0.0.1 80 typ host tcptype passive",
           "7 1 TCP 5 ::1 80 typ host tcptype passive",
           "7 1 TCP 5 0.0.0.0 80 typ host tcptype passive",
           "7 1 TCP 5 :: 80 typ host tcptype passive",
           "7 1 TCP 5 224.0.0.1 80 typ host tcptype passive",
           "7 1 TCP 5 255.255.255.255 80 typ host tcptype passive",
           "7 1 TCP 5 ff02::1 80 typ host tcptype passive",
           "7 1 TCP 5 fe80::1 80 typ host tcptype passive",
           "7 1 TCP 5 ::ffff:127.0.0.1 80 typ host tcptype passive",
       }) {
    INFO(line);
    CHECK(nice(line) == nullptr);
  }
  CHECK(nice("7 1 TCP 5 127.0.0.1 80 typ host tcptype passive", true) != nullptr);
  Candidate no_port;
  no_port.foundation = "7";
  no_port.priority = 5;
  no_port.address = "192.0.2.7";
  no_port.tcp_type = TcpType::kPassive;
  CHECK(to_nice(no_port, 1, false) == nullptr);
}

TEST_CASE("the usable ones of a list are taken, in order") {
  std::vector<Candidate> candidates;
  for (int i = 0; i < 10; ++i) {
    candidates.push_back(
        *parse_candidate("7 1 TCP 5 192.0.2.7 " + std::to_string(1000 + i) + " typ host tcptype passive"));
    candidates.push_back(*parse_candidate("7 1 UDP 5 192.0.2.7 80 typ host"));
  }
  const auto out = to_nice(candidates, 3, false);
  REQUIRE(out.size() == 10);
  CHECK(out.front()->stream_id == 3);
  CHECK(printable(out.front()->addr) == "192.0.2.7:1000");
}

TEST_CASE("addresses are printed so that the port can be told") {
  const auto v6 = nice("7 1 TCP 5 2001:db8::7 80 typ host tcptype passive");
  REQUIRE(v6 != nullptr);
  CHECK(printable(v6->addr) == "[2001:db8::7]:80");
}
