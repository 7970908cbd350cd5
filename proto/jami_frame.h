// SPDX-License-Identifier: GPL-3.0-or-later
/// Jami's dialect on the wire (PROTOCOL.md, "Jami's dialect"): its messages, and its control objects, which become the
/// same control::Message as our own.
#pragma once

#include <vector>

#include "proto/control.h"
#include "proto/frame.h"

namespace connd::proto {

/// A message is the msgpack array [channel uint, bin]. On the two control channels (0 and 65,535) it is handed out
/// whole, on others as it comes; an empty bin is EOF.
class JamiFrameCodec final : public FrameCodec {
 public:
  /// Array of two, the channel in 16 bits, the length in 16 bits: always the longest form that is needed, so that
  /// there is room for it before the length is known.
  static constexpr std::size_t kHeaderBytes = 7;

  [[nodiscard]] std::size_t header_bytes() const override { return kHeaderBytes; }
  void write_header(std::uint8_t* out, WireId channel, std::size_t length) const override;
  /// Errors: kBadJamiFrame.
  Result<std::optional<FramePiece>> next(Bytes& in) override;

 private:
  /// Array of two in 32 bits, a number in 64, a bin in 32.
  static constexpr std::size_t kMaxHeaderBytes = 5 + 9 + 5;

  Result<bool> read_header(Bytes& in);
  std::optional<FramePiece> body(Bytes& in);

  std::array<std::uint8_t, kMaxHeaderBytes> header_{};
  std::size_t header_have_ = 0;
  bool in_body_ = false;
  WireId channel_ = 0;
  std::size_t body_left_ = 0;  ///< bytes of the bin that are still to come
  Buffer control_{kMaxFrameBody};
};

namespace jami {

/// The objects in the body of a message on a control channel: [name, id, state] is ChannelRequest or Refuse, {"v": n}
/// Hello, {"p": bool} Ping or Pong, other maps and states Unknown. Errors: as control::decode.
Result<std::vector<control::Message>> decode(Bytes body);

/// Appends `message` as one whole message of the stream. Nothing for what this dialect cannot say: Window, Reset,
/// GoAway, Unique, Unknown.
void encode(const control::Message& message, ByteVector& out);

}  // namespace jami
}  // namespace connd::proto
