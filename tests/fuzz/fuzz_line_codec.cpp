// SPDX-License-Identifier: GPL-3.0-or-later
/// LineCodec: whatever the bytes and however they are cut, the outcome is the same, and each line given is as promised.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ipc/line_codec.h"
#include "tests/fuzz/check.h"

using connd::ipc::LineCodec;
using connd::proto::Bytes;

namespace {

// Above the walker's bound of nesting, so that both are met.
constexpr std::size_t kMaxLine = 64;

void drain(LineCodec& codec, std::vector<std::string>& out) {
  for (;;) {
    const auto outcome = codec.next();
    if (std::holds_alternative<LineCodec::NeedMore>(outcome)) return;
    if (const auto* error = std::get_if<LineCodec::Error>(&outcome)) {
      out.push_back("\n" + std::to_string(static_cast<int>(*error)));  // no line begins with LF
      if (*error == LineCodec::Error::kTooLong) return;
      continue;
    }
    const auto text = std::get<LineCodec::Line>(outcome).text;
    FUZZ_CHECK(text.size() <= kMaxLine);
    FUZZ_CHECK(text.find('\n') == text.npos && text.find('\0') == text.npos);
    FUZZ_CHECK(connd::ipc::is_utf8(text));
    out.emplace_back(text);
  }
}

std::vector<std::string> decode(Bytes bytes, std::size_t piece, bool walks) {
  LineCodec codec(kMaxLine, walks ? std::optional(connd::ipc::RequestWalker(false)) : std::nullopt);
  std::vector<std::string> out;
  while (!bytes.empty()) {
    const std::size_t n = std::min({piece, bytes.size(), codec.room()});
    if (n == 0) break;  // failed for good
    codec.feed(bytes.first(n));
    bytes = bytes.subspan(n);
    drain(codec, out);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(data, size);
  for (const bool walks : {false, true}) {
    const auto at_once = decode(bytes, size + 1, walks);
    FUZZ_CHECK(decode(bytes, 1, walks) == at_once);
    FUZZ_CHECK(decode(bytes, 7, walks) == at_once);
  }
  return 0;
}
