// SPDX-License-Identifier: GPL-3.0-or-later
/// ControlQueue: control objects and ends of channels on their way out, in order: objects are gathered into frames
/// where the dialect does so, and frames into chunks, until the output has room.
#pragma once

#include <cstddef>
#include <deque>

#include "proto/bytes.h"
#include "proto/frame.h"

namespace connd::proto {

class ControlQueue {
 public:
  /// `codec` outlives it. `gathers`: several objects may share a frame (PROTOCOL.md, section 9).
  ControlQueue(FrameCodec& codec, bool gathers) : codec_(codec), gathers_(gathers) {}

  /// Objects that must stand in one frame. Without gathering they are a frame already. False: kMaxControlBacklog is
  /// passed, and the connection at its end; what comes later is dropped.
  bool add(Bytes objects);
  /// The end of a channel's data, behind all objects so far.
  void add_end(WireId channel);
  /// Moves what waits to `out`, as long as that is short of `target`. Its bound must leave room for one chunk more.
  void flush(Buffer& out, std::size_t target);
  void clear();

  /// Bytes that wait.
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return gathered_.empty() && chunks_.empty(); }

 private:
  void seal();
  void queue(ByteVector chunk);

  FrameCodec& codec_;
  const bool gathers_;
  ByteVector gathered_;            ///< objects of the frame that is being gathered
  std::deque<ByteVector> chunks_;  ///< whole frames
  std::size_t size_ = 0;           ///< of both
};

}  // namespace connd::proto
