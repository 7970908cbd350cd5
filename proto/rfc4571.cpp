// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/rfc4571.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace connd::proto {

void Rfc4571Reader::feed(Bytes bytes) {
  assert(input_.empty() || state_ == State::kFailed);
  input_ = bytes;
}

Result<std::optional<IcePiece>> Rfc4571Reader::next() {
  while (true) {
    switch (state_) {
      case State::kFailed:
        return Errc::kStunTooLong;
      case State::kLength:
        if (!hold(2)) return std::optional<IcePiece>{};
        begin_frame();
        break;
      case State::kKind:
        tell_kind();
        if (state_ == State::kKind) return std::optional<IcePiece>{};
        if (std::exchange(hand_over_, false)) return std::optional<IcePiece>{HandOver{}};
        break;
      case State::kStream:
        if (auto piece = take_stream()) return piece;
        if (state_ == State::kStream) return std::optional<IcePiece>{};
        break;
      case State::kStun:
        if (auto piece = take_stun()) return piece;
        return std::optional<IcePiece>{};
      case State::kIgnored:
        take(left_);
        if (left_ > 0) return std::optional<IcePiece>{};
        state_ = State::kLength;
        break;
    }
  }
}

// Whether the first `until` bytes of what is at hand are held.
bool Rfc4571Reader::hold(std::size_t until) {
  const std::size_t n = std::min(until - held_size_, input_.size());
  std::copy_n(input_.begin(), n, held_.begin() + static_cast<std::ptrdiff_t>(held_size_));
  input_ = input_.subspan(n);
  held_size_ += n;
  return held_size_ == until;
}

Bytes Rfc4571Reader::take(std::size_t at_most) {
  const Bytes out = input_.first(std::min({at_most, left_, input_.size()}));
  input_ = input_.subspan(out.size());
  left_ -= out.size();
  return out;
}

void Rfc4571Reader::begin_frame() {
  frame_size_ = left_ = load_u16(held_.data());
  held_size_ = 0;
  state_ = frame_size_ == 0 ? State::kLength : State::kKind;
}

// Holds back as few bytes as decide what the frame is; TLS records are told by the first one.
void Rfc4571Reader::tell_kind() {
  if (held_size_ == 0 && input_.empty()) return;
  while (may_be_special()) {
    const std::size_t decisive = std::min(kKindBytes, frame_size_);
    if (held_size_ == decisive) break;
    if (input_.empty()) return;
    held_[held_size_++] = take(1).front();
  }
  if (is_stun()) {
    state_ = frame_size_ > kMaxStunBytes      ? State::kFailed
             : frame_size_ < kStunHeaderBytes ? State::kIgnored
                                              : State::kStun;
    if (state_ == State::kIgnored) held_size_ = 0;
  } else if (is_hand_over()) {
    held_size_ = 0;
    state_ = State::kLength;
    hand_over_ = true;
  } else {
    state_ = State::kStream;
  }
}

bool Rfc4571Reader::may_be_special() const {
  // RFC 8489, 5: "The most significant 2 bits of every STUN message MUST be zeroes"; methods of ICE fit below 4.
  const std::uint8_t first = held_size_ > 0 ? held_[0] : input_.front();
  if (first <= 3) return frame_size_ >= kKindBytes;
  return first == kHandOver[0] && frame_size_ == kHandOver.size();
}

bool Rfc4571Reader::is_stun() const {
  return held_size_ == kKindBytes && held_[0] <= 3 && ByteReader(Bytes(held_).subspan(4, 4)).u32() == kStunMagicCookie;
}

bool Rfc4571Reader::is_hand_over() const {
  return frame_size_ == kHandOver.size() && held_size_ == frame_size_ &&
         std::equal(kHandOver.begin(), kHandOver.end(), held_.begin());
}

std::optional<IcePiece> Rfc4571Reader::take_stream() {
  // First what was held back, which later calls overwrite; then the rest from where it lies.
  if (held_size_ > 0) {
    const Bytes head = Bytes(held_).first(std::exchange(held_size_, 0));
    if (left_ == 0) state_ = State::kLength;
    return StreamData{head};
  }
  const Bytes bytes = take(left_);
  if (left_ == 0) state_ = State::kLength;
  if (bytes.empty()) return std::nullopt;
  return StreamData{bytes};
}

std::optional<IcePiece> Rfc4571Reader::take_stun() {
  const Bytes part = take(left_);
  std::copy(part.begin(), part.end(), held_.begin() + static_cast<std::ptrdiff_t>(held_size_));
  held_size_ += part.size();
  if (left_ > 0) return std::nullopt;
  held_size_ = 0;
  state_ = State::kLength;
  return StunMessage{Bytes(held_).first(frame_size_)};
}

}  // namespace connd::proto
