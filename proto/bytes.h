// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Bytes on their way: a view, a bounds-checked reader, and a bounded first-in-first-out buffer.
///
/// Header-only, so that ipc/ can use it without linking proto/. Nothing here is thread-safe.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace connd::proto {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;
using ByteVector = std::vector<std::uint8_t>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline std::uint16_t load_u16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>((p[0] << 8) | p[1]);
}
inline void store_u16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}

/// Lower-case hex of `bytes`.
inline std::string to_hex(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (std::uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

/// Fills `out` from exactly 2 * out.size() hex digits of either case. False, and `out` unspecified, otherwise.
inline bool from_hex(std::string_view hex, MutableBytes out) {
  if (hex.size() != out.size() * 2) return false;
  auto nibble = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = nibble(hex[2 * i]);
    const int low = nibble(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>((high << 4) | low);
  }
  return true;
}

/// Reads big-endian numbers and runs of bytes. A reader that has failed stays failed, and reads zeros and empty spans;
/// check `failed()` once at the end. Spans point into the input.
class ByteReader {
 public:
  explicit ByteReader(Bytes in) : in_(in) {}

  std::uint8_t u8() {
    const Bytes b = take(1);
    return b.empty() ? std::uint8_t{0} : b[0];
  }
  std::uint16_t u16() {
    const Bytes b = take(2);
    return b.empty() ? std::uint16_t{0} : load_u16(b.data());
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return (high << 16) | u16();
  }
  Bytes take(std::size_t n) {
    if (failed_ || n > in_.size()) {
      failed_ = true;
      return {};
    }
    const Bytes out = in_.first(n);
    in_ = in_.subspan(n);
    return out;
  }
  [[nodiscard]] Bytes rest() const { return failed_ ? Bytes{} : in_; }
  [[nodiscard]] bool at_end() const { return in_.empty(); }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  Bytes in_;
  bool failed_ = false;
};

/// A first-in-first-out run of bytes, contiguous, of at most `max_bytes`. Bytes are appended at the back, either by
/// `append` or in place (`prepare`, then `commit`), and consumed from the front. Spans from it are valid until the next
/// non-const call. Storage grows on demand and is given back by `release()`; bytes move only when the front gap is
/// larger than what is kept.
class Buffer {
 public:
  explicit Buffer(std::size_t max_bytes) : max_(max_bytes) {}

  [[nodiscard]] std::size_t size() const { return end_ - begin_; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::size_t max_bytes() const { return max_; }
  [[nodiscard]] std::size_t room() const { return max_ - size(); }
  [[nodiscard]] Bytes data() const { return {storage_.data() + begin_, size()}; }

  /// False, and nothing appended, when `bytes` would pass the bound.
  [[nodiscard]] bool append(Bytes bytes) {
    if (bytes.size() > room()) return false;
    if (bytes.empty()) return true;
    std::memcpy(prepare(bytes.size()).data(), bytes.data(), bytes.size());
    commit(bytes.size());
    return true;
  }

  /// `n` writable bytes behind the end; `n` at most room(). Nothing is added before `commit`.
  [[nodiscard]] MutableBytes prepare(std::size_t n) {
    assert(n <= room());
    if (storage_.size() - end_ < n) make_space(n);
    return {storage_.data() + end_, n};
  }
  /// Adds the first `n` bytes of what the last `prepare` returned.
  void commit(std::size_t n) {
    assert(end_ + n <= storage_.size());
    end_ += n;
  }

  void consume(std::size_t n) {
    assert(n <= size());
    begin_ += n;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void clear() { begin_ = end_ = 0; }

  /// Gives the storage back to the allocator when the buffer is empty; for buffers that are mostly idle.
  void release() {
    if (empty()) storage_ = {};
  }

 private:
  void make_space(std::size_t n) {
    const std::size_t kept = size();
    if (begin_ >= kept && storage_.size() - kept >= n) {
      std::memcpy(storage_.data(), storage_.data() + begin_, kept);
    } else {
      // Doubling up to the bound keeps appends amortised; a new vector avoids zeroing what is about to be moved.
      std::size_t capacity = storage_.size() < 512 ? 512 : storage_.size() * 2;
      while (capacity < kept + n) capacity *= 2;
      if (capacity > max_) capacity = max_ < kept + n ? kept + n : max_;
      std::vector<std::uint8_t> grown(capacity);
      if (kept > 0) std::memcpy(grown.data(), storage_.data() + begin_, kept);
      storage_ = std::move(grown);
    }
    begin_ = 0;
    end_ = kept;
  }

  std::size_t max_;
  std::vector<std::uint8_t> storage_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace connd::proto
