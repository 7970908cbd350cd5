// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/frame.h"

#include <algorithm>

#include "proto/error.h"

namespace connd::proto {

void NativeFrameCodec::write_header(std::uint8_t* out, WireId channel, std::size_t length) const {
  assert(length <= kMaxFrameBody);
  store_u16(out, static_cast<std::uint16_t>(length));
  store_u16(out + 2, channel);
}

Result<std::optional<FramePiece>> NativeFrameCodec::next(Bytes& in) {
  if (body_left_ == 0) return begin_frame(in);
  return channel_ == kControlChannel ? control(in) : data(in);
}

Result<std::optional<FramePiece>> NativeFrameCodec::begin_frame(Bytes& in) {
  control_.clear();  // what the last piece pointed at
  const std::size_t n = std::min(in.size(), kHeaderBytes - header_have_);
  std::copy_n(in.begin(), n, header_.begin() + static_cast<std::ptrdiff_t>(header_have_));
  header_have_ += n;
  in = in.subspan(n);
  if (header_have_ < kHeaderBytes) return std::optional<FramePiece>{};
  header_have_ = 0;
  body_left_ = load_u16(header_.data());
  channel_ = load_u16(header_.data() + 2);
  // PROTOCOL.md 8, the table: 0xffff is a connection error, of any length; an empty frame is one on channel 0, and EOF
  // on any other.
  if (channel_ == kReservedChannel) return Errc::kReservedChannel;
  if (body_left_ == 0) {
    if (channel_ == kControlChannel) return Errc::kEmptyControlFrame;
    return std::optional(FramePiece{FramePiece::Kind::kEnd, channel_, {}});
  }
  return channel_ == kControlChannel ? control(in) : data(in);
}

/// PROTOCOL.md 8: "The receiver MAY hand out data before a frame is whole."
std::optional<FramePiece> NativeFrameCodec::data(Bytes& in) {
  if (in.empty()) return std::nullopt;
  const Bytes body = in.first(std::min(in.size(), body_left_));
  in = in.subspan(body.size());
  body_left_ -= body.size();
  return FramePiece{FramePiece::Kind::kData, channel_, body};
}

/// PROTOCOL.md 8: "Control objects are treated when their frame is whole."
std::optional<FramePiece> NativeFrameCodec::control(Bytes& in) {
  const Bytes part = in.first(std::min(in.size(), body_left_));
  in = in.subspan(part.size());
  body_left_ -= part.size();
  if (body_left_ == 0 && control_.empty()) return FramePiece{FramePiece::Kind::kControl, channel_, part};
  const bool fits = control_.append(part);  // a body has at most 65,535 bytes, which is the buffer's bound
  assert(fits);
  (void)fits;
  if (body_left_ > 0) return std::nullopt;
  return FramePiece{FramePiece::Kind::kControl, channel_, control_.data()};
}

}  // namespace connd::proto
