// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/ice_gate.h"

#include <string>

#include <catch2/catch.hpp>

using namespace connd;
using namespace connd::daemon;

namespace {

/// A framed binding request: PRIORITY, then USERNAME, then whatever.
std::string check(const std::string& username) {
  std::string attributes("\x00\x24\x00\x04\x01\x02\x03\x04", 8);
  attributes += std::string("\x00\x06\x00", 3) + static_cast<char>(username.size()) + username;
  attributes.append((4 - username.size() % 4) % 4, '\0');
  attributes += std::string("\x80\x28\x00\x04xxxx", 8);
  std::string stun("\x00\x01\x00", 3);
  stun += static_cast<char>(attributes.size());
  stun += std::string("\x21\x12\xa4\x42", 4) + std::string(12, 't') + attributes;
  return std::string(1, '\0') + static_cast<char>(stun.size()) + stun;
}

FirstFrame judge(const std::string& bytes) {
  return judge_first_frame(proto::as_bytes(bytes), "abcd");
}

}  // namespace

TEST_CASE("a check that names our ufrag is the peer's, also with more behind it") {
  CHECK(judge(check("abcd:wxyz")) == FirstFrame::kPeer);
  CHECK(judge(check("abcd:wxyz") + "and more") == FirstFrame::kPeer);
}

TEST_CASE("every proper prefix of the peer's check is incomplete") {
  const std::string whole = check("abcd:wxyz");
  for (std::size_t n = 0; n < whole.size(); ++n) CHECK(judge(whole.substr(0, n)) == FirstFrame::kIncomplete);
}

TEST_CASE("everything else is a stranger's") {
  CHECK(judge(check("abce:wxyz")) == FirstFrame::kStranger);
  CHECK(judge(check("abcd")) == FirstFrame::kStranger);
  CHECK(judge(check("abcdwxyz")) == FirstFrame::kStranger);
  CHECK(judge(check("")) == FirstFrame::kStranger);
  CHECK(judge("GET / HTTP/1.1\r\n") == FirstFrame::kStranger);
  CHECK(judge(std::string("\x00\x00", 2)) == FirstFrame::kStranger);
  CHECK(judge(std::string("\x00\x13", 2)) == FirstFrame::kStranger);
  CHECK(judge(std::string("\xff\xff", 2)) == FirstFrame::kStranger);
  CHECK(judge(std::string("\x00\x14", 2) + std::string(20, '\0')) == FirstFrame::kStranger);
}

TEST_CASE("lengths inside of the check are not trusted") {
  const std::string whole = check("abcd:wxyz");
  for (std::size_t at = 2; at < whole.size(); ++at) {
    for (const char byte : {'\x00', '\x7f', '\xff'}) {
      std::string bad = whole;
      bad[at] = byte;
      const FirstFrame verdict = judge(bad);  // ASan watches; either verdict may be right, "incomplete" is not
      CHECK(verdict != FirstFrame::kIncomplete);
    }
  }
}
