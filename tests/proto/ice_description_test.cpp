// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/ice_description.h"

#include <catch2/catch.hpp>

using namespace connd::proto;

namespace {

const std::string kHead = "ufrg\n0123456789abcdef012345\n";

std::string tcp_line(unsigned port, unsigned priority = 5) {
  return "f 1 TCP " + std::to_string(priority) + " 10.0.0.1 " + std::to_string(port) + " typ host tcptype passive\n";
}
std::string udp_line(unsigned port) {
  return "f 1 UDP 5 10.0.0.1 " + std::to_string(port) + " typ host\n";
}

}  // namespace

TEST_CASE("a description is read and printed the same") {
  const std::string text = kHead + tcp_line(5) + "g 1 TCP 4 ::1 9 typ host tcptype active\n" + udp_line(6);
  const auto description = IceDescription::parse(text);
  REQUIRE(description);
  CHECK(description->ufrag == "ufrg");
  CHECK(description->pwd == "0123456789abcdef012345");
  REQUIRE(description->candidates.size() == 3);
  CHECK(description->candidates[2].transport == Transport::kUdp);
  CHECK(description->to_text() == text);
}

TEST_CASE("junk lines are skipped; CR and a missing last LF do no harm") {
  const std::string text = "ufrg\r\n0123456789abcdef012345\r\n\n garbage\n" + std::string(1000, 'x') + "\n" +
                           tcp_line(5) + "f 1 TCP 5 10.0.0.1 6 typ host tcptype so\r\nf 1 UDP 5 ::1 7 typ host";
  const auto description = IceDescription::parse(text);
  REQUIRE(description);
  REQUIRE(description->candidates.size() == 3);
  CHECK(description->candidates[0].port == 5);
  CHECK(description->candidates[1].port == 6);
  CHECK(description->candidates[2].port == 7);
  CHECK(IceDescription::parse(kHead)->candidates.empty());
}

TEST_CASE("of 512 candidates 64 are kept, TCP before UDP") {
  std::string text = kHead;
  for (unsigned i = 1; i <= 512; ++i) text += tcp_line(i);
  auto description = IceDescription::parse(text);
  REQUIRE(description);
  CHECK(description->candidates.size() == IceDescription::kMaxCandidates);
  CHECK(description->candidates.back().port == 64);

  text = kHead;
  for (unsigned i = 1; i <= 500; ++i) text += udp_line(i);
  for (unsigned i = 1; i <= 12; ++i) text += tcp_line(i);
  description = IceDescription::parse(text);
  REQUIRE(description);
  REQUIRE(description->candidates.size() == IceDescription::kMaxCandidates);
  CHECK(description->candidates[11].transport == Transport::kTcp);
  CHECK(description->candidates[12].transport == Transport::kUdp);
}

TEST_CASE("the 64 that are kept are those of highest priority, wherever they stand") {
  std::string text = kHead + tcp_line(1, 9);
  for (unsigned i = 0; i < 256; ++i) text += tcp_line(1000 + i, 1 + i % 3) + udp_line(2000 + i);
  text += tcp_line(2, 10) + tcp_line(3, 9);
  for (unsigned i = 0; i < 256; ++i) text += tcp_line(3000 + i, 4);
  const auto description = IceDescription::parse(text);
  REQUIRE(description);
  const auto& kept = description->candidates;
  REQUIRE(kept.size() == IceDescription::kMaxCandidates);
  CHECK(kept[0].port == 2);
  CHECK(kept[1].port == 1);
  CHECK(kept[2].port == 3);
  CHECK(kept[3].port == 3000);
  CHECK(kept[63].port == 3060);
}

TEST_CASE("bad credentials and long texts are refused") {
  const std::string pwd(22, 'p');
  for (const std::string& bad :
       std::vector<std::string>{"", "ufrg", "ufr\n" + pwd, "ufrg\n" + pwd.substr(1), std::string(257, 'u') + "\n" + pwd,
                                "ufrg\n" + std::string(257, 'p'), "uf rg\n" + pwd, "uf\trg\n" + pwd, "\n\n"}) {
    INFO(bad);
    CHECK(IceDescription::parse(bad).error() == Errc::kBadConnectionRequest);
  }
  CHECK(IceDescription::parse(std::string(256, 'u') + "\n" + std::string(256, 'p')).ok());
  std::string text = kHead;
  text.append(IceDescription::kMaxTextBytes - text.size(), '\n');
  CHECK(IceDescription::parse(text).ok());
  CHECK(IceDescription::parse(text + "\n").error() == Errc::kTooLong);
}

TEST_CASE("doors are read and printed, and are no candidates") {
  const std::string text = kHead + tcp_line(5) + "jc-door:mapped:203.0.113.7:40000\njc-door:host:2001:db8::1:4222\n";
  const auto description = IceDescription::parse(text);
  REQUIRE(description);
  CHECK(description->candidates.size() == 1);
  REQUIRE(description->doors.size() == 2);
  CHECK(description->doors[0] == Door{Door::Kind::kMapped, "203.0.113.7", 40000});
  CHECK(description->doors[1] == Door{Door::Kind::kHost, "2001:db8::1", 4222});
  CHECK(description->to_text() == text);
}

TEST_CASE("doors that cannot be so are passed over, and there is a bound") {
  std::string text = kHead;
  for (const char* bad :
       {"jc-door:", "jc-door:host", "jc-door:host:10.0.0.1", "jc-door:host:10.0.0.1:0", "jc-door:host:10.0.0.1:65536",
        "jc-door:host:10.0.0.1:80x", "jc-door:host:10.0.0.1: 80", "jc-door:host:example.org:80",
        "jc-door:other:10.0.0.1:80", "jc-door:host:fe80::1%eth0:80", "jc-door:host::80", "jc-door::10.0.0.1:80",
        " jc-door:host:10.0.0.1:80", "jc-door:host:[::1]:80"}) {
    text += std::string(bad) + "\n";
  }
  text += "jc-door:host:" + std::string(600, '1') + ":80\n";
  REQUIRE(IceDescription::parse(text));
  CHECK(IceDescription::parse(text)->doors.empty());
  for (int i = 1; i <= 100; ++i) text += "jc-door:host:10.0.0.1:" + std::to_string(i) + "\n";
  const auto description = IceDescription::parse(text);
  REQUIRE(description->doors.size() == IceDescription::kMaxDoors);
  CHECK(description->doors.back().port == IceDescription::kMaxDoors);
}
