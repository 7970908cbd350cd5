// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// LineCodec: bytes of a control socket to lines. A line ends with LF, is UTF-8 without NUL, and is bounded.
///
/// Bytes go in with `feed`, or in place with `prepare` and `commit`; `next` gives what is there. What it gives does not
/// depend on how the bytes were cut. No I/O, no thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <variant>

#include "ipc/limits.h"
#include "ipc/request_walker.h"
#include "proto/bytes.h"

namespace connd::ipc {

class LineCodec {
 public:
  struct NeedMore {};
  /// Without its LF. Points into the codec: valid until the next non-const call.
  struct Line {
    std::string_view text;
  };
  enum class Error {
    kTooLong,  ///< final: the codec stays failed, as the line's end is unknown
    kNul,      ///< this line holds a NUL; the next one may be fine
    kNotUtf8,  ///< this line is not UTF-8 (RFC 3629); the next one may be fine
    kRefused,  ///< the walker refused it; what is left of this line is skipped, and the next one may be fine
  };
  using Outcome = std::variant<NeedMore, Line, Error>;

  /// With a walker each line is shown to it as it comes, and one that it refuses is not kept.
  explicit LineCodec(std::size_t max_line_bytes = kMaxLineBytes, std::optional<RequestWalker> walker = std::nullopt);

  /// Bytes that can be taken now. It is 0 only while lines wait in `next`, or after kTooLong.
  [[nodiscard]] std::size_t room() const { return failed_ ? 0 : buffer_.room(); }
  /// `bytes.size()` at most `room()`.
  void feed(proto::Bytes bytes);
  /// The same in place: up to `n` writable bytes (`n` at most room()), of which `commit` adds the first ones.
  [[nodiscard]] proto::MutableBytes prepare(std::size_t n) { return buffer_.prepare(n); }
  void commit(std::size_t n) { buffer_.commit(n); }

  /// The next line or error. Call until NeedMore.
  [[nodiscard]] Outcome next();
  /// True when part of a line is held that `next` has called NeedMore.
  [[nodiscard]] bool holds_part() const { return !failed_ && (buffer_.size() > given_ || skipped_ > 0); }
  /// There is one. After kRefused, what it said of that line: valid until the next call of `next`.
  [[nodiscard]] const RequestWalker& walker() const { return *walker_; }
  /// True in the rest of a line that was refused, also when that turns out to be too long.
  [[nodiscard]] bool skipping() const { return skipped_ > 0; }

 private:
  Outcome fail();
  [[nodiscard]] bool skip();
  [[nodiscard]] bool refused(std::string_view bytes);

  std::size_t max_line_;
  std::optional<RequestWalker> walker_;
  proto::Buffer buffer_;
  std::size_t given_ = 0;    // bytes at the front that `next` has handed out; consumed by the next call
  std::size_t scanned_ = 0;  // bytes behind `given_` that are known to hold no LF
  std::size_t skipped_ = 0;  // bytes of a refused line that are gone; 0: not in one
  bool failed_ = false;
};

/// True when `text` is well-formed UTF-8 as RFC 3629 has it: no surrogates, nothing overlong, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace connd::ipc
