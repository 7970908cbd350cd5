// SPDX-License-Identifier: GPL-3.0-or-later
/// FrameReader: what a peer says, taken apart: pieces of data as they come, ends of channels, and the control objects
/// of each control frame one by one. Sans-IO, for both dialects.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "proto/bytes.h"
#include "proto/control.h"
#include "proto/dialect.h"
#include "proto/frame.h"
#include "proto/result.h"

namespace connd::proto {

class FrameReader {
 public:
  /// Valid until the next call.
  struct Item {
    FramePiece piece;                     ///< data, or an end; its body is a span of what was fed
    control::Message* message = nullptr;  ///< set: it is this control object instead
    bool announced = false;               ///< of a request: `unique` with its id stands directly before it
  };

  /// `dialect` outlives it.
  explicit FrameReader(Dialect& dialect) : dialect_(dialect), codec_(dialect.codec()) {}

  /// The next bytes of the stream. They are only referred to: call next() until it returns nothing before they go.
  void feed(Bytes plain) { in_ = plain; }
  /// Nothing when the input is used up. After an error the stream is lost: those of FrameCodec::next and
  /// Dialect::decode. Of a control frame that has one, no object is returned.
  Result<std::optional<Item>> next();

 private:
  std::optional<Item> next_message();
  [[nodiscard]] bool is_announced(std::size_t at) const;

  Dialect& dialect_;
  FrameCodec& codec_;  ///< the dialect's
  Bytes in_;
  std::vector<control::Message> messages_;  ///< of the last control frame
  std::size_t next_ = 0;                    ///< the first of them that was not returned
};

}  // namespace connd::proto
