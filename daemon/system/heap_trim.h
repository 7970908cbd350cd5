// SPDX-License-Identifier: GPL-3.0-or-later
/// HeapTrim: gives freed memory back to the kernel once much has ended. malloc keeps what it can use again, and after
/// thousands of channels a quiet daemon would hold on to a hundred megabytes for good.
#pragma once

#include <cstddef>
#include <cstdint>

namespace connd::daemon {

class HeapTrim {
 public:
  /// What fewer than these leave behind, some hundred kilobytes each at most, is not worth the milliseconds.
  static constexpr std::size_t kMinEnded = 64;

  /// Of connections, channels and opens: how many `begun` there were ever, and how many are `living`; call it now and
  /// then. True when since it last said so as many have ended as live now, and at least kMinEnded, or when the last few
  /// of them have gone, too: the next to do is trim(). What that takes grows with all that there was: so each end pays
  /// for its own part.
  bool due(std::uint64_t begun, std::size_t living) {
    const std::uint64_t ended = begun - living - trimmed_;
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
  std::uint64_t trimmed_ = 0;  ///< so many had ended at the last trim
  bool rest_ = false;          ///< of many that have ended some are left
};

}  // namespace connd::daemon
