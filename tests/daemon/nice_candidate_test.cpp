// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/nice_candidate.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace connd::daemon;
using namespace connd::proto;

namespace {

NiceCandidatePtr nice(const std::string& line, PeerAddresses allowed = {}) {
  const auto candidate = parse_candidate(line);
  return candidate && is_connectable(*candidate, allowed) ? to_nice(*candidate, 1) : nullptr;
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
    const auto out = to_nice(candidate, 1);
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
           "7 1 TCP 5 169.254.3.4 80 typ host tcptype passive",
           "7 1 TCP 5 192.0.0.4 80 typ host tcptype passive",
           "7 1 TCP 5 64:ff9b::7f00:1 80 typ host tcptype passive",
           "7 1 TCP 5 64:ff9b:1::a00:1 80 typ host tcptype passive",
           "7 1 TCP 5 ::ffff:127.0.0.1 80 typ host tcptype passive",
       }) {
    INFO(line);
    CHECK(nice(line) == nullptr);
  }
  CHECK(nice("7 1 TCP 5 127.0.0.1 80 typ host tcptype passive", {true, false}) != nullptr);
  CHECK(nice("7 1 TCP 5 169.254.3.4 80 typ host tcptype passive", {false, true}) != nullptr);
  Candidate no_port;
  no_port.foundation = "7";
  no_port.priority = 5;
  no_port.address = "192.0.2.7";
  no_port.tcp_type = TcpType::kPassive;
  CHECK_FALSE(is_connectable(no_port, {}));
}

TEST_CASE("the usable ones of a list are taken, in order") {
  std::vector<Candidate> candidates;
  for (int i = 0; i < 10; ++i) {
    candidates.push_back(*parse_candidate("7 1 TCP 5 192.0.2." + std::to_string(7 + i) + " " +
                                          std::to_string(1000 + i) + " typ host tcptype passive"));
    candidates.push_back(*parse_candidate("7 1 UDP 5 192.0.2.7 80 typ host"));
  }
  const auto out = connectable(candidates, {});
  REQUIRE(out.size() == 10);
  CHECK(out.front().port == 1000);
  const auto first = to_nice(out.front(), 3);
  CHECK(first->stream_id == 3);
  CHECK(printable(first->addr) == "192.0.2.7:1000");
}

TEST_CASE("nobody has us try many ports of a machine, nor many machines, on their behalf") {
  std::vector<Candidate> ports;
  for (int port = 1; port <= 500; ++port) {
    // As it is written, or in another way.
    const std::string address = port % 2 == 0 ? "2001:db8::7" : "2001:db8:0:0:0:0:0:7";
    ports.push_back(
        *parse_candidate("7 1 TCP 5 " + address + " " + std::to_string(port) + " typ host tcptype passive"));
  }
  CHECK(connectable(ports, {}).size() == kMaxPortsOfAddress);
  std::vector<Candidate> machines;
  for (int i = 0; i < 500; ++i) {
    const std::string address = "10.9." + std::to_string(i / 200) + "." + std::to_string(1 + i % 200);
    machines.push_back(*parse_candidate("7 1 TCP 5 " + address + " 80 typ relay tcptype so"));
  }
  CHECK(connectable(machines, {}).size() == kMaxConnectable);
  // Those to which nobody connects take no place.
  std::vector<Candidate> mixed;
  for (int i = 1; i <= 21; ++i) {
    mixed.push_back(*parse_candidate("7 1 TCP 5 10.9.0." + std::to_string(i) + " 9 typ host tcptype active"));
    mixed.push_back(*parse_candidate("7 1 TCP 5 10.9.0." + std::to_string(i) + " 80 typ host tcptype passive"));
  }
  CHECK(connectable(mixed, {}).size() == 42);
}

TEST_CASE("addresses are printed so that the port can be told") {
  const auto v6 = nice("7 1 TCP 5 2001:db8::7 80 typ host tcptype passive");
  REQUIRE(v6 != nullptr);
  CHECK(printable(v6->addr) == "[2001:db8::7]:80");
}
