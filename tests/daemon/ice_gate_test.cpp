// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/ice/ice_gate.h"

#include <string>

#include <catch2/catch.hpp>

#include "proto/stun.h"

using namespace connd;
using namespace connd::daemon;

namespace {

/// A framed binding request: PRIORITY, then USERNAME, then FINGERPRINT.
std::string check(const std::string& username) {
  const auto message = proto::StunWriter(proto::StunClass::kRequest, proto::StunMethod::kBinding, {1, 2, 3})
                           .add_u32(proto::StunAttribute::kPriority, 0x01020304)
                           .add(proto::StunAttribute::kUsername, username)
                           .add_fingerprint()
                           .take();
  return std::string(proto::as_text(proto::as_frame(message)));
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
