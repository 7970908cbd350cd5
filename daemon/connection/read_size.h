// SPDX-License-Identifier: GPL-3.0-or-later
/// ReadSize: how much the next read of a connection takes, by how much work the last one was. What comes may be work
/// that is done at once for each of thousands of small frames: answers of opens, requests.
#pragma once

#include <algorithm>
#include <cstddef>

#include "daemon/link/link.h"

namespace connd::daemon {

class ReadSize {
 public:
  /// What one read takes is at least kFirst, and grows with what is read, as long as little work comes with it.
  static constexpr std::size_t kFirst = std::size_t{16} << 10;
  static constexpr std::size_t kLeast = std::size_t{4} << 10;
  /// So many events a read are aimed at, by reading less; one record may have some hundred.
  static constexpr std::size_t kEvents = 64;

  /// Begins a read of that many bytes.
  std::size_t begin() {
    events_ = 0;
    return bytes_;
  }
  /// A frame that is more than bytes of a channel.
  void event() { ++events_; }
  /// It has brought so many bytes.
  void end(std::size_t read) {
    bytes_ = events_ <= kEvents ? std::clamp(2 * read, kFirst, PumpScratch::kBytes)
                                : std::max(bytes_ * kEvents / events_, kLeast);
  }

 private:
  std::size_t bytes_ = kFirst;
  std::size_t events_ = 0;
};

}  // namespace connd::daemon
