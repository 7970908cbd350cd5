// SPDX-License-Identifier: GPL-3.0-or-later
/// HeapTrim: gives freed memory back to the kernel once much has ended. malloc keeps what it can use again, and after
/// thousands of channels a quiet daemon would hold on to a hundred megabytes for good.
#pragma once

#include <cstddef>

namespace connd::daemon {

class HeapTrim {
 public:
  /// What fewer than these leave behind, some hundred kilobytes each at most, is not worth the milliseconds.
  static constexpr std::size_t kMinEnded = 64;

  /// One more connection, channel or open lives.
  void begun() { ++begun_; }
  /// `living`: those that began and have not ended; call it now and then. True when since it last said so as many have
  /// ended as live now, and at least kMinEnded, or when the last few of them have gone, too: the next to do is trim().
  /// What that takes grows with all that there was: so each end pays for its own part.
  bool due(std::size_t living) {
    const std::size_t ended = begun_ - living - trimmed_;
    const bool many = ended >= kMinEnded && ended >= living;
    const bool last = rest_ && living == 0;
    if (!many && !last) return false;
    trimmed_ += ended;
    rest_ = living > 0;
    return true;
  }
  /// Some milliseconds per hundred megabytes (malloc_trim(3)).
  static void trim();

 private:
  std::size_t begun_ = 0;
  std::size_t trimmed_ = 0;  ///< of these so many had ended at the last trim
  bool rest_ = false;        ///< of many that have ended some are left
};

}  // namespace connd::daemon
