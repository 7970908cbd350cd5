// SPDX-License-Identifier: GPL-3.0-or-later
/// STUN from anyone, and the first frame of an ICE connection, which has to be one: what is answered is well-formed and
/// has our integrity, and only what names us and is well-formed gets an answer.
#include <cstdint>

#include "daemon/ice/ice_gate.h"
#include "proto/stun.h"
#include "tests/fuzz/check.h"

using namespace connd;
using namespace connd::proto;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kPassword = "VOkJxbRl1RmTxUk/WvJxBt";  // of RFC 5769
  const ByteVector exact(data, data + size);
  const bool well_formed = is_well_formed_stun(exact);
  (void)has_integrity(exact, kPassword);
  if (const auto answer = stun_binding_response(exact, {}, kPassword)) {
    FUZZ_CHECK(well_formed && has_integrity(exact, kPassword));
    FUZZ_CHECK(is_well_formed_stun(*answer) && has_integrity(*answer, kPassword));
    FUZZ_CHECK(answer->size() <= 256);
  }
  const auto first = daemon::judge_first_frame(exact, "evtj");
  // More bytes never change what was judged.
  if (first != daemon::FirstFrame::kIncomplete) {
    ByteVector longer = exact;
    longer.push_back(0);
    FUZZ_CHECK(daemon::judge_first_frame(longer, "evtj") == first);
  }
  return 0;
}
