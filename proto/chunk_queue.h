// SPDX-License-Identifier: GPL-3.0-or-later
/// ChunkQueue: a first-in-first-out run of bytes that may become long, and is for most of the time empty. It takes
/// hardly more memory than it holds, at any time: storage is added and given back in chunks, and bytes never move.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstring>
#include <list>
#include <memory>

#include "proto/bytes.h"

namespace connd::proto {

/// Holds at most `max_bytes`. Spans from it are valid until the next non-const call.
class ChunkQueue {
 public:
  explicit ChunkQueue(std::size_t max_bytes) : max_(max_bytes) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  /// Bytes at the front: some, if there are any.
  [[nodiscard]] Bytes data() const { return chunks_.empty() ? Bytes{} : chunks_.front().data(); }

  /// False, and nothing appended, when `bytes` would pass the bound.
  [[nodiscard]] bool append(Bytes bytes) {
    if (bytes.size() > max_ - size_) return false;
    while (!bytes.empty()) {
      if (chunks_.empty() || chunks_.back().room() == 0) {
        // The first ones are small: of thousands of queues most hold little.
        chunks_.emplace_back(std::clamp(std::max(bytes.size(), size_), kMinChunk, kMaxChunk));
      }
      const std::size_t n = std::min(bytes.size(), chunks_.back().room());
      chunks_.back().append(bytes.first(n));
      size_ += n;
      bytes = bytes.subspan(n);
    }
    return true;
  }

  /// Takes `n` bytes off the front: at most those of data().
  void consume(std::size_t n) {
    if (n == 0) return;
    assert(n <= data().size());
    Chunk& front = chunks_.front();
    front.begin += n;
    size_ -= n;
    if (front.begin == front.end) chunks_.pop_front();
  }

 private:
  static constexpr std::size_t kMinChunk = 512;
  static constexpr std::size_t kMaxChunk = std::size_t{64} << 10;

  struct Chunk {
    explicit Chunk(std::size_t bytes)
        : storage(std::make_unique_for_overwrite<std::uint8_t[]>(bytes)), capacity(bytes) {}
    [[nodiscard]] Bytes data() const { return {storage.get() + begin, end - begin}; }
    [[nodiscard]] std::size_t room() const { return capacity - end; }
    void append(Bytes bytes) {
      std::memcpy(storage.get() + end, bytes.data(), bytes.size());
      end += bytes.size();
    }
    std::unique_ptr<std::uint8_t[]> storage;
    std::size_t capacity;
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  std::size_t max_;
  std::size_t size_ = 0;
  std::list<Chunk> chunks_;  // an empty one allocates nothing
};

}  // namespace connd::proto
