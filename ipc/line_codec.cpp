// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/line_codec.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "proto/utf8.h"

namespace connd::ipc {

bool is_utf8(std::string_view text) {
  return proto::is_utf8(text);
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
