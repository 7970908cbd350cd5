// SPDX-License-Identifier: GPL-3.0-or-later
/// HeapTrim: gives freed memory back to the kernel once much has ended. malloc keeps what it can use again, and after
/// thousands of channels a quiet daemon would hold on to a hundred megabytes for good.
#pragma once

#include <cstddef>

namespace connd::daemon {

class HeapTrim {
 public:
  /// A drop by fewer than these is not worth the milliseconds.
  static constexpr std::size_t kMinEnded = 128;

  /// There are so many now: what comes and goes between two looks counts, too.
  void saw(std::size_t living) {
    if (living > most_) most_ = living;
  }
  /// `living` connections, channels and opens; call it now and then. True when at least kMinEnded, and half of the most
  /// there were, have ended since it said so last, and when after such an end the last of them has gone, too: the next
  /// to do is trim().
  bool due(std::size_t living) {
    saw(living);
    const bool many = most_ - living >= kMinEnded && living <= most_ / 2;
    const bool last = rest_ && living == 0;
    if (!many && !last) return false;
    most_ = living;
    rest_ = living > 0;
    return true;
  }
  /// Some milliseconds per hundred megabytes (malloc_trim(3)).
  static void trim();

 private:
  std::size_t most_ = 0;
  bool rest_ = false;  ///< of many that have ended some are left
};

}  // namespace connd::daemon
