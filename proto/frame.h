// SPDX-License-Identifier: GPL-3.0-or-later
/// Frames: how bytes of many channels share one stream (PROTOCOL.md, "Frames").
///
/// FrameCodec is the seam between the mux and a dialect's framing; a connection chooses one after TLS, once. A decoder
/// hands out data as spans of its input, without waiting for the rest of a frame, and control frames whole.
#pragma once

#include <cstdint>
#include <optional>

#include "proto/bytes.h"
#include "proto/limits.h"
#include "proto/result.h"

namespace connd::proto {

/// A channel's id on the wire. It stays inside proto/; the rest of the world knows handles.
using WireId = std::uint16_t;

/// What a decoder found. `body` is valid until the next call, and no longer than the input it came from.
struct FramePiece {
  enum class Kind : std::uint8_t {
    kControl,  ///< a whole control frame
    kData,     ///< some bytes of a data frame, at least one
    kEnd,      ///< EOF of the channel
  };
  Kind kind;
  WireId channel;
  Bytes body;
};

class FrameCodec {
 public:
  virtual ~FrameCodec() = default;

  /// Bytes in front of a body, the same for every frame.
  [[nodiscard]] virtual std::size_t header_bytes() const = 0;
  /// Writes header_bytes() bytes; `length` at most kMaxFrameBody.
  virtual void write_header(std::uint8_t* out, WireId channel, std::size_t length) const = 0;

  /// The next piece at the front of `in`, which is advanced past what was used; nothing when `in` is used up and more
  /// is needed. After an error the stream is lost.
  virtual Result<std::optional<FramePiece>> next(Bytes& in) = 0;
};

/// 16 bits length of the body, 16 bits channel id, both big-endian, then the body.
class NativeFrameCodec final : public FrameCodec {
 public:
  static constexpr std::size_t kHeaderBytes = 4;

  [[nodiscard]] std::size_t header_bytes() const override { return kHeaderBytes; }
  void write_header(std::uint8_t* out, WireId channel, std::size_t length) const override;
  Result<std::optional<FramePiece>> next(Bytes& in) override;

 private:
  Result<std::optional<FramePiece>> begin_frame(Bytes& in);
  std::optional<FramePiece> data(Bytes& in);
  std::optional<FramePiece> control(Bytes& in);

  std::array<std::uint8_t, kHeaderBytes> header_{};
  std::size_t header_have_ = 0;
  WireId channel_ = 0;
  std::size_t body_left_ = 0;  ///< bytes of the current frame's body that are still to come
  Buffer control_{kMaxFrameBody};
};

}  // namespace connd::proto
