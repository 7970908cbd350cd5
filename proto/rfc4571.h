// SPDX-License-Identifier: GPL-3.0-or-later
/// Rfc4571Reader: takes the framing off the ICE stream and tells STUN from data.
///
/// On an ICE-TCP connection everything stands in frames of a 16-bit big-endian length and as many bytes (RFC 4571,
/// section 2; RFC 6544, section 3). Frames of data are mere chunks of the one stream of TLS bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "proto/bytes.h"
#include "proto/error.h"
#include "proto/result.h"
#include "proto/stun.h"

namespace connd::proto {

/// Some bytes of the TLS stream: all of a frame, or what has come of it.
struct StreamData {
  Bytes bytes;
};
/// A whole STUN message, RFC 8489; its inside is not checked.
struct StunMessage {
  Bytes bytes;
};
/// The frame by which a jami-connd TLS server says that it has taken the socket over (SPEC 4.5).
struct HandOver {};

using IcePiece = std::variant<StreamData, StunMessage, HandOver>;

/// `feed`, then `next` until there is nothing; the result is the same in whatever cuts the stream comes. Data is not
/// copied: only a STUN message that comes in parts is put together here.
class Rfc4571Reader {
 public:
  /// What a hand-over frame holds.
  static constexpr std::array<std::uint8_t, 4> kHandOver{'J', 'C', 'H', 1};

  /// The next bytes of the stream. The span must live until `next` has returned nothing, which it must before the next
  /// feed.
  void feed(Bytes bytes);

  /// The next piece; nothing when all of the input is used up. Spans in it are valid until the next call of either
  /// function. Empty frames and STUN messages without a whole header are passed over.
  /// Errors: kStunTooLong; final.
  Result<std::optional<IcePiece>> next();

 private:
  enum class State { kLength, kKind, kStream, kStun, kIgnored, kFailed };

  // Bytes that tell what a frame is: up to the end of the magic cookie.
  static constexpr std::size_t kKindBytes = 8;

  bool hold(std::size_t until);
  void begin_frame();
  void tell_kind();
  [[nodiscard]] bool may_be_special() const;
  [[nodiscard]] bool is_stun() const;
  [[nodiscard]] bool is_hand_over() const;
  Bytes take(std::size_t at_most);
  std::optional<IcePiece> take_stream();
  std::optional<IcePiece> take_stun();

  State state_ = State::kLength;
  Bytes input_;
  std::size_t frame_size_ = 0;
  std::size_t left_ = 0;  // bytes of the frame that are still in the input
  // The head of a frame whose kind is not yet known, or a STUN message in parts.
  std::array<std::uint8_t, kMaxStunBytes> held_;
  std::size_t held_size_ = 0;
  bool hand_over_ = false;
};

}  // namespace connd::proto
