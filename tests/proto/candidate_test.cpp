// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/candidate.h"

#include <catch2/catch.hpp>

using namespace connd::proto;

TEST_CASE("candidate lines of every kind are read, and printed the same") {
  const std::string line = GENERATE(
      as<std::string>{},  //
      "Hc0a80102 1 TCP 2128609279 192.168.1.2 40123 typ host tcptype passive",
      "Hc0a80102 1 TCP 2128606463 192.168.1.2 9 typ host tcptype active",
      "S1 1 TCP 1694498815 203.0.113.7 9 typ srflx tcptype active", "1 1 TCP 1 2001:db8::1 65535 typ prflx tcptype so",
      "r 1 TCP 2147483647 10.0.0.1 1 typ relay tcptype passive", "4 1 UDP 2130706431 10.0.0.1 5000 typ host");
  INFO(line);
  const auto candidate = parse_candidate(line);
  REQUIRE(candidate);
  CHECK(to_line(*candidate) == line);
  CHECK(parse_candidate(to_line(*candidate)).value() == *candidate);
}

TEST_CASE("a candidate's members are what the line says") {
  const auto candidate =
      parse_candidate("F+/1 1 tcp 77 2001:db8::2 0 TYP srflx raddr 10.0.0.1 rport 9 tcptype ACTIVE generation 0");
  REQUIRE(candidate);
  CHECK(candidate->foundation == "F+/1");
  CHECK(candidate->transport == Transport::kTcp);
  CHECK(candidate->priority == 77);
  CHECK(candidate->address == "2001:db8::2");
  CHECK(candidate->is_ipv6());
  CHECK(candidate->port == 9);  // libnice prints 0 for active
  CHECK(candidate->type == CandidateType::kServerReflexive);
  CHECK(candidate->tcp_type == TcpType::kActive);
  CHECK(to_line(*candidate) == "F+/1 1 TCP 77 2001:db8::2 9 typ srflx tcptype active");
  CHECK_FALSE(parse_candidate("1 1 UDP 5 10.0.0.1 5000 typ host raddr 1.2.3.4 rport 5")->is_ipv6());
}

TEST_CASE("malformed candidate lines are refused") {
  const std::string line = GENERATE_COPY(
      as<std::string>{},  //
      "", " ", "f", "f 1 TCP", "junk junk junk",
      "f 2 TCP 1 10.0.0.1 5 typ host tcptype passive",   // component
      "f -1 TCP 1 10.0.0.1 5 typ host tcptype passive",  //
      "f 1 SCTP 1 10.0.0.1 5 typ host tcptype passive",  // transport
      "f 1 TCP 0 10.0.0.1 5 typ host tcptype passive",   // priority
      "f 1 TCP 2147483648 10.0.0.1 5 typ host tcptype passive",
      "f 1 TCP 99999999999 10.0.0.1 5 typ host tcptype passive", "f 1 TCP 1x 10.0.0.1 5 typ host tcptype passive",
      "f 1 TCP 1 10.0.0 5 typ host tcptype passive",        // address
      "f 1 TCP 1 host.local 5 typ host tcptype passive",    //
      "f 1 TCP 1 fe80::1%eth0 5 typ host tcptype passive",  //
      "f 1 TCP 1 [::1] 5 typ host tcptype passive",         //
      "f 1 TCP 1 10.0.0.1 0 typ host tcptype passive",      // port
      "f 1 TCP 1 10.0.0.1 65536 typ host tcptype passive",  //
      "f 1 TCP 1 10.0.0.1 5 type host tcptype passive",     // typ
      "f 1 TCP 1 10.0.0.1 5 typ guest tcptype passive",     //
      "f 1 TCP 1 10.0.0.1 5 typ host",                      // tcptype
      "f 1 TCP 1 10.0.0.1 5 typ host tcptype",              //
      "f 1 TCP 1 10.0.0.1 5 typ host tcptype lazy",         //
      "f 1 TCP 1 10.0.0.1 5 typ host tcptype so tcptype so", "f 1 UDP 1 10.0.0.1 5 typ host tcptype so",
      std::string(33, 'f') + " 1 UDP 1 10.0.0.1 5 typ host", std::string("f 1 UDP 1 10.0.0.1\0 5 typ host", 31),
      "\xc3\xa9 1 UDP 1 10.0.0.1 5 typ host");
  INFO(line);
  CHECK(parse_candidate(line).error() == Errc::kBadCandidate);
}

TEST_CASE("every truncation of a line is refused or shorter") {
  const std::string line = "f 1 TCP 77 192.0.2.55 4321 typ host tcptype passive";
  for (std::size_t n = 0; n < line.size(); ++n) CHECK_FALSE(parse_candidate(line.substr(0, n)));
}

TEST_CASE("a candidate line is bounded") {
  std::string line = "f 1 UDP 1 10.0.0.1 5 typ host x ";
  line.append(Candidate::kMaxLineBytes - line.size(), 'y');
  CHECK(parse_candidate(line).ok());
  CHECK(parse_candidate(line + "y").error() == Errc::kTooLong);
}
