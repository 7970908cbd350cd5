// SPDX-License-Identifier: GPL-3.0-or-later
/// MuxOutput: what a mux has to send, as one stream of bytes: control objects and ends of channels, which wait in
/// order, and the frames of data, whose bodies the app's bytes are read right into.
///
/// Data that is committed stands in data() at once, ahead of all that waits; so the end of a channel is behind its
/// data.
#pragma once

#include <cstddef>

#include "proto/bytes.h"
#include "proto/control_queue.h"
#include "proto/dialect.h"

namespace connd::proto {

class MuxOutput {
 public:
  /// Encrypt when data() has this much: four full TLS records.
  static constexpr std::size_t kTarget = 65'536;

  /// `dialect` outlives it.
  explicit MuxOutput(Dialect& dialect);

  // ---- control ----

  /// Nothing comes of what the dialect cannot say.
  void send(const control::Message& message);
  /// Appends to objects that must stand in one frame, for send_group().
  void encode(const control::Message& message, ByteVector& group) { dialect_.encode(message, group); }
  void send_group(const ByteVector& objects);
  /// The end of a channel's data.
  void send_end(WireId channel) { control_.add_end(channel); }
  /// Control bytes that wait.
  [[nodiscard]] std::size_t waiting() const { return control_.size(); }
  /// More waits than kMaxControlBacklog, and something was dropped: the connection is to end (PROTOCOL.md, 14).
  [[nodiscard]] bool overrun() const { return overrun_; }
  /// Drops what waits.
  void drop_waiting() { control_.clear(); }

  // ---- data ----

  /// Room for `bytes` of body behind data() and a header's worth.
  [[nodiscard]] MutableBytes prepare(std::size_t bytes);
  /// The first `bytes` (at least 1) of what prepare() returned are a frame of `channel`.
  void commit(WireId channel, std::size_t bytes);

  // ---- the stream ----

  /// Moves control that waits into data(), as long as that is short of kTarget.
  void flush_control() { control_.flush(out_, kTarget); }
  /// Valid until the next call of anything but const members.
  [[nodiscard]] Bytes data() const { return out_.data(); }
  void taken() { out_.clear(); }
  [[nodiscard]] bool empty() const { return out_.empty() && control_.empty(); }

 private:
  Dialect& dialect_;
  FrameCodec& codec_;  ///< the dialect's
  ControlQueue control_;
  Buffer out_;
  bool overrun_ = false;
};

}  // namespace connd::proto
