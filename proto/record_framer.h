// SPDX-License-Identifier: GPL-3.0-or-later
/// RecordFramer: puts TLS records into a buffer, each in one RFC 4571 frame of its own where the stream is ICE's.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "proto/bytes.h"

namespace connd::proto {

enum class Framing {
  kNone,     ///< the bytes as they are
  kRfc4571,  ///< a 16-bit big-endian length before each record; RFC 4571, section 2
};

/// OpenSSL hands out a handshake in chunks that cut records anywhere. A frame that starts inside a record could look
/// like STUN to the peer's demultiplexer, so frames follow the records instead: `append` takes the stream in any cut.
/// The frame of a record is announced when its header is whole; the rest follows as it comes.
class RecordFramer {
 public:
  /// Appends to `out`, which must outlive this.
  RecordFramer(Buffer& out, Framing framing) : out_(out), framing_(framing) {}

  /// False when `out` has no room; the stream is then torn and must not be sent on.
  [[nodiscard]] bool append(Bytes stream) {
    if (framing_ == Framing::kNone) return out_.append(stream);
    while (!stream.empty()) {
      if (body_left_ == 0 && !take_header(stream)) return false;
      const Bytes body = stream.first(body_left_ < stream.size() ? body_left_ : stream.size());
      if (!out_.append(body)) return false;
      body_left_ -= body.size();
      stream = stream.subspan(body.size());
    }
    return true;
  }

  /// Bytes of a record's header: type, version, length of the body (RFC 8446, section 5.1).
  static constexpr std::size_t kRecordHeaderBytes = 5;
  static constexpr std::size_t kFrameHeaderBytes = 2;

 private:
  // Takes what there is of the next header; false when `out_` is full.
  bool take_header(Bytes& stream) {
    while (header_size_ < header_.size() && !stream.empty()) {
      header_[header_size_++] = stream.front();
      stream = stream.subspan(1);
    }
    if (header_size_ < header_.size()) return true;
    header_size_ = 0;
    body_left_ = load_u16(header_.data() + 3);
    const std::size_t frame = kRecordHeaderBytes + body_left_;
    assert(frame <= 0xffff);  // OpenSSL writes records of at most 2^14 + 256 bytes
    std::array<std::uint8_t, kFrameHeaderBytes> length;
    store_u16(length.data(), static_cast<std::uint16_t>(frame));
    return out_.append(length) && out_.append(header_);
  }

  Buffer& out_;
  Framing framing_;
  std::array<std::uint8_t, kRecordHeaderBytes> header_{};
  std::size_t header_size_ = 0;
  std::size_t body_left_ = 0;
};

}  // namespace connd::proto
