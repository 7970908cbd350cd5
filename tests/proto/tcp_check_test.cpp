// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/tcp_check.h"

#include <algorithm>
#include <optional>

#include <catch2/catch.hpp>

using namespace connd::proto;

namespace {

using State = TcpCheck::State;

const std::string kCallerPwd = "caller-password-22-characters";
const std::string kCalleePwd = "callee-password-22-characters";

IpEndpoint somewhere(std::uint8_t last) {
  IpEndpoint out;
  out.address = {192, 0, 2, last};
  out.port = 40'000;
  return out;
}

/// One side of a connection, and what lies in its socket.
struct Side {
  TcpCheck check;
  ByteVector input{};
  std::string other{};
  std::size_t other_bytes = 0;

  /// Looks at all that has come.
  void look() {
    const auto step = check.feed(input);
    input.erase(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(step.used));
    other = step.other_ufrag;
    other_bytes = step.other;
  }
};

/// The caller of the attempt is controlled, the callee controlling.
Side caller(std::string remote_ufrag = "callee") {
  return {TcpCheck({"caller", kCallerPwd, remote_ufrag, remote_ufrag.empty() ? "" : kCalleePwd}, false, somewhere(2),
                   {{1}, 1})};
}
Side callee() {
  return {TcpCheck({"callee", kCalleePwd, "caller", kCallerPwd}, true, somewhere(1), {{2}, 2})};
}

void carry(Side& from, Side& to) {
  const ByteVector bytes = from.check.take_output();
  to.input.insert(to.input.end(), bytes.begin(), bytes.end());
  to.look();
}

void exchange(Side& a, Side& b, int rounds = 4) {
  for (int i = 0; i < rounds; ++i) {
    carry(a, b);
    carry(b, a);
  }
}

ByteVector request(std::string_view username, std::string_view password, bool nominate = false) {
  StunWriter writer(StunClass::kRequest, StunMethod::kBinding, {7});
  writer.add(StunAttribute::kUsername, username).add_u32(StunAttribute::kPriority, 1);
  if (nominate) writer.add_flag(StunAttribute::kUseCandidate);
  return as_frame(writer.add_integrity(password).add_fingerprint().take());
}

}  // namespace

TEST_CASE("both sides select the connection, whoever has made it") {
  for (const int makers : {1, 2, 3}) {  // the caller, the callee, both at once
    INFO(makers);
    Side a = caller();
    Side b = callee();
    if ((makers & 1) != 0) a.check.start();
    if ((makers & 2) != 0) b.check.start();
    exchange(a, b);
    CHECK(a.check.state() == State::kSelected);
    CHECK(b.check.state() == State::kSelected);
  }
}

TEST_CASE("without the callee's description the caller can be found all the same, and asks nothing") {
  Side a = caller("");
  Side b = callee();
  b.check.start();
  exchange(a, b);
  CHECK(a.check.state() == State::kSelected);
  CHECK(b.check.state() == State::kSelected);
  Side early = caller("");
  early.check.start();
  CHECK(early.check.take_output().empty());
}

TEST_CASE("the controlled side waits for USE-CANDIDATE, and answers and asks meanwhile") {
  Side a = caller();
  a.input = request("caller:callee", kCallerPwd);
  a.look();
  CHECK(a.check.state() == State::kChecking);
  const ByteVector said = a.check.take_output();
  const std::size_t first = load_u16(said.data());
  const auto answer = StunView::parse(Bytes(said).subspan(2, first));
  REQUIRE(answer);
  CHECK(answer->is(StunClass::kSuccess, StunMethod::kBinding));
  CHECK(answer->address(StunAttribute::kXorMappedAddress) == somewhere(2));
  const auto triggered = StunView::parse(Bytes(said).subspan(2 + first + 2));
  REQUIRE(triggered);
  CHECK(triggered->is(StunClass::kRequest, StunMethod::kBinding));
  CHECK(triggered->username() == "callee:caller");
  CHECK(triggered->has(StunAttribute::kIceControlled));
  CHECK_FALSE(triggered->has(StunAttribute::kUseCandidate));
  a.input = request("caller:callee", kCallerPwd, true);
  a.look();
  CHECK(a.check.state() == State::kSelected);
}

TEST_CASE("the controlling side nominates, and is selected by its answer alone") {
  Side b = callee();
  b.check.start();
  const ByteVector said = b.check.take_output();
  const auto asked = StunView::parse(Bytes(said).subspan(2));
  REQUIRE(asked);
  CHECK(asked->has(StunAttribute::kUseCandidate));
  CHECK(asked->has(StunAttribute::kIceControlling));
  const auto answer = [&](const StunTransaction& transaction, std::string_view password) {
    return as_frame(StunWriter(StunClass::kSuccess, StunMethod::kBinding, transaction)
                        .add_address(StunAttribute::kXorMappedAddress, somewhere(2))
                        .add_integrity(password)
                        .add_fingerprint()
                        .take());
  };
  b.input = answer({9, 9}, kCallerPwd);  // to nothing that was asked
  b.look();
  CHECK(b.check.state() == State::kChecking);
  CHECK(b.input.empty());
  SECTION("the right one") {
    b.input = answer(asked->transaction(), kCallerPwd);
    b.look();
    CHECK(b.check.state() == State::kSelected);
  }
  SECTION("one of somebody else's") {
    b.input = answer(asked->transaction(), "no-password-of-the-callers");
    b.look();
    CHECK(b.check.state() == State::kFailed);
  }
  SECTION("an error") {
    b.input = as_frame(StunWriter(StunClass::kError, StunMethod::kBinding, asked->transaction())
                           .add(StunAttribute::kErrorCode, as_bytes(std::string_view("\0\0\4\1", 4)))
                           .take());
    b.look();
    CHECK(b.check.state() == State::kFailed);
  }
}

TEST_CASE("what follows the check is not touched, in whatever cuts it comes") {
  const ByteVector nominated = request("caller:callee", kCallerPwd, true);
  ByteVector stream = nominated;
  const std::string_view hello("\0\5hello", 7);
  stream.insert(stream.end(), hello.begin(), hello.end());
  for (std::size_t cut = 1; cut <= stream.size(); ++cut) {
    INFO(cut);
    Side a = caller();
    for (std::size_t at = 0; at < stream.size(); at += cut) {
      const auto end = std::min(at + cut, stream.size());
      a.input.insert(a.input.end(), stream.begin() + static_cast<std::ptrdiff_t>(at),
                     stream.begin() + static_cast<std::ptrdiff_t>(end));
      a.look();
    }
    CHECK(a.check.state() == State::kSelected);
    CHECK(as_text(a.input) == hello);
  }
}

TEST_CASE("another attempt's request is told, and left where it is") {
  Side a = caller();
  a.check.start();
  (void)a.check.take_output();
  const ByteVector others = request("another:callee", "whatever-password-there-is");
  a.input = others;
  a.look();
  CHECK(a.check.state() == State::kChecking);
  CHECK(a.other == "another");
  CHECK(a.other_bytes == others.size());
  CHECK(a.input == others);
  CHECK(a.check.take_output().empty());
  a.input = request("caller:callee", kCallerPwd, true);  // passed over, and the own one comes
  a.look();
  CHECK(a.check.state() == State::kSelected);
}

TEST_CASE("a check of strangers fails and says nothing") {
  const std::pair<const char*, ByteVector> bad[] = {
      {"the wrong password", request("caller:callee", "not-the-password-of-caller")},
      {"of another peer", request("caller:other", kCallerPwd)},
      {"no STUN", ByteVector{0, 20, 'G', 'E', 'T', ' ', '/', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
      {"too short a frame", ByteVector{0, 5, 'h', 'e', 'l', 'l', 'o'}},
      {"too long a frame", ByteVector{0xff, 0xff}},
      {"an empty one", ByteVector{0, 0}},
  };
  for (const auto& [what, bytes] : bad) {
    INFO(what);
    Side a = caller();
    a.input = bytes;
    a.look();
    CHECK(a.check.state() == State::kFailed);
    CHECK(a.check.take_output().empty());
  }
}

TEST_CASE("every changed byte of a check fails it, or is passed over") {
  const ByteVector good = request("caller:callee", kCallerPwd, true);
  for (std::size_t i = 0; i < good.size(); ++i) {
    INFO(i);
    Side a = caller();
    a.input = good;
    a.input[i] ^= 4;
    a.look();
    // Behind MESSAGE-INTEGRITY the type of FINGERPRINT is covered by nothing: see stun_test.cpp.
    const bool fingerprint_type = i == good.size() - 8 || i == good.size() - 7;
    CHECK((a.check.state() == State::kSelected) == fingerprint_type);
  }
}

TEST_CASE("a check has an end: so many messages") {
  Side a = caller();
  const ByteVector one = request("caller:callee", kCallerPwd);
  for (unsigned i = 0; i < TcpCheck::kMaxMessages; ++i) {
    CHECK(a.check.state() == State::kChecking);
    a.input = one;
    a.look();
  }
  a.input = one;
  a.look();
  CHECK(a.check.state() == State::kFailed);
}
