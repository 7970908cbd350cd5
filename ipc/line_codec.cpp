// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/line_codec.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

namespace connd::ipc {
namespace {

/// One row of RFC 3629 section 4: the range of the first byte, the range of the second, and the length.
struct Utf8Row {
  std::uint8_t first_low, first_high, second_low, second_high;
  std::size_t bytes;
};
constexpr std::array kUtf8Rows = {
    Utf8Row{0xC2, 0xDF, 0x80, 0xBF, 2}, Utf8Row{0xE0, 0xE0, 0xA0, 0xBF, 3}, Utf8Row{0xE1, 0xEC, 0x80, 0xBF, 3},
    Utf8Row{0xED, 0xED, 0x80, 0x9F, 3}, Utf8Row{0xEE, 0xEF, 0x80, 0xBF, 3}, Utf8Row{0xF0, 0xF0, 0x90, 0xBF, 4},
    Utf8Row{0xF1, 0xF3, 0x80, 0xBF, 4}, Utf8Row{0xF4, 0xF4, 0x80, 0x8F, 4},
};

/// Length of the sequence of several bytes at the front of `text`, 0 if it is malformed.
std::size_t sequence_length(proto::Bytes text) {
  for (const Utf8Row& row : kUtf8Rows) {
    if (text[0] < row.first_low || text[0] > row.first_high) continue;
    if (text.size() < row.bytes || text[1] < row.second_low || text[1] > row.second_high) return 0;
    for (std::size_t i = 2; i < row.bytes; ++i) {
      if ((text[i] & 0xC0) != 0x80) return 0;
    }
    return row.bytes;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  proto::Bytes rest = proto::as_bytes(text);
  while (!rest.empty()) {
    // Eight bytes of ASCII at a time: most lines are nothing else.
    std::uint64_t word = 0;
    while (rest.size() >= sizeof word) {
      std::memcpy(&word, rest.data(), sizeof word);
      if ((word & 0x8080808080808080) != 0) break;
      rest = rest.subspan(sizeof word);
    }
    if (rest.empty()) break;
    const std::size_t n = rest[0] < 0x80 ? 1 : sequence_length(rest);
    if (n == 0) return false;
    rest = rest.subspan(n);
  }
  return true;
}

LineCodec::LineCodec(std::size_t max_line_bytes, std::optional<RequestWalker> walker)
    : max_line_(max_line_bytes),
      walker_(std::move(walker)),
      // A whole line, its LF, and one read behind it: so a reader always has room once it has drained the lines.
      buffer_(max_line_bytes + 1 + kReadChunkBytes) {}

void LineCodec::feed(proto::Bytes bytes) {
  const bool fits = bytes.size() <= room() && buffer_.append(bytes);
  assert(fits);
  static_cast<void>(fits);
}

LineCodec::Outcome LineCodec::fail() {
  failed_ = true;
  buffer_.clear();
  buffer_.release();
  return Error::kTooLong;
}

/// Drops what is here of a refused line. False: its end has not come.
bool LineCodec::skip() {
  const std::string_view held = proto::as_text(buffer_.data());
  const std::size_t end = held.find('\n');
  const bool whole = end != std::string_view::npos;
  skipped_ += whole ? end : held.size();
  buffer_.consume(whole ? end + 1 : held.size());
  return whole;
}

bool LineCodec::refused(std::string_view bytes) {
  return walker_ && walker_->feed(bytes) != RequestWalker::Verdict::kGood;
}

LineCodec::Outcome LineCodec::next() {
  if (failed_) return Error::kTooLong;
  buffer_.consume(given_);
  given_ = 0;
  if (skipped_ > 0) {
    const bool whole = skip();
    if (skipped_ > max_line_) return fail();
    if (buffer_.empty()) buffer_.release();
    if (!whole) return NeedMore{};
    skipped_ = 0;
  }
  // A line begins with nothing scanned of it: an empty piece changes nothing.
  if (walker_ && scanned_ == 0) walker_->reset();
  const std::string_view held = proto::as_text(buffer_.data());
  const std::size_t end = held.find('\n', scanned_);
  // Nothing beyond the longest line, so that a line's outcome does not hang on how its bytes came.
  const std::size_t walked = std::min({end, held.size(), max_line_});
  if (walked > scanned_ && refused(held.substr(scanned_, walked - scanned_))) {
    skipped_ = std::max<std::size_t>(scanned_, 1);
    buffer_.consume(skipped_);
    scanned_ = 0;
    return Error::kRefused;
  }
  if (end == std::string_view::npos) {
    if (held.size() > max_line_) return fail();
    scanned_ = held.size();
    if (held.empty()) buffer_.release();
    return NeedMore{};
  }
  if (end > max_line_) return fail();
  given_ = end + 1;
  scanned_ = 0;
  const std::string_view line = held.substr(0, end);
  if (line.find('\0') != std::string_view::npos) return Error::kNul;
  if (!is_utf8(line)) return Error::kNotUtf8;
  return Line{line};
}

}  // namespace connd::ipc
