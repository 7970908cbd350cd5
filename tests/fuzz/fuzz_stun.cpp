// SPDX-License-Identifier: GPL-3.0-or-later
/// STUN from anyone, and the first frame of an ICE connection, which has to be one: what is answered is well-formed and
/// has our integrity, and only what names us and is well-formed gets an answer.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "daemon/ice/ice_gate.h"
#include "proto/stun.h"
#include "proto/tcp_check.h"
#include "tests/fuzz/check.h"

using namespace connd;
using namespace connd::proto;

namespace {

/// A check that is given the bytes in cuts of this size; what it has used, and left, of them.
std::pair<TcpCheck::State, std::size_t> checked(Bytes bytes, std::size_t cut, bool controlling) {
  TcpCheck check({"evtj", "VOkJxbRl1RmTxUk/WvJxBt", "h6vY", "another-password-22-bytes"}, controlling, {}, {{}, 0});
  check.start();
  std::size_t used = 0;
  for (std::size_t end = 0;;) {
    end = std::min(end + cut, bytes.size());
    TcpCheck::Step step;
    do {
      step = check.feed(bytes.subspan(used, end - used));
      used += step.used + step.other;  // another attempt's is passed over
      FUZZ_CHECK(used <= end && check.take_output().size() <= TcpCheck::kMaxMessages * std::size_t{400});
    } while (step.other > 0);
    if (end == bytes.size()) return {check.state(), used};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kPassword = "VOkJxbRl1RmTxUk/WvJxBt";  // of RFC 5769
  const ByteVector exact(data, data + size);
  const auto view = StunView::parse(exact);
  for (unsigned type = 0; view && type < 0x40; ++type) {
    (void)view->address(static_cast<StunAttribute>(type));
    (void)view->error_code();
  }
  if (const auto answer = stun_binding_response(exact, {}, kPassword)) {
    FUZZ_CHECK(view && view->has_integrity(kPassword));
    const auto answered = StunView::parse(*answer);
    FUZZ_CHECK(answered && answered->has_integrity(kPassword));
    FUZZ_CHECK(answer->size() <= 256);
  }
  const auto first = daemon::judge_first_frame(exact, "evtj");
  // More bytes never change what was judged.
  if (first != daemon::FirstFrame::kIncomplete) {
    ByteVector longer = exact;
    longer.push_back(0);
    FUZZ_CHECK(daemon::judge_first_frame(longer, "evtj") == first);
  }
  // In whatever cuts it comes, a check ends the same, and has used the same.
  for (const bool controlling : {false, true}) {
    FUZZ_CHECK(checked(exact, 1, controlling) == checked(exact, size + 1, controlling));
  }
  return 0;
}
