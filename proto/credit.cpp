// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/credit.h"

#include <algorithm>
#include <cassert>

#include "proto/error.h"

namespace connd::proto {

Result<void> SendCredit::add(std::uint64_t bytes) {
  // PROTOCOL.md 12: "n = 0, or a sum of n and the credit that is given and not used yet above 2,147,483,647".
  if (bytes == 0 || bytes > kMaxCredit - available_) return Errc::kCreditTooLarge;
  available_ += static_cast<std::uint32_t>(bytes);
  return {};
}

void SendCredit::use(std::uint32_t bytes) {
  assert(bytes <= available_);
  available_ -= bytes;
}

std::uint32_t max_window_for(std::chrono::microseconds round_trip) {
  constexpr std::chrono::microseconds kLongPath{kMaxWindow / kFillRate};
  if (round_trip > kLongPath) return kMaxWindow;
  return std::max(kShortPathWindow, static_cast<std::uint32_t>(round_trip.count()) * kFillRate);
}

std::uint32_t WindowPool::share() const {
  return left_ <= 0 ? 0 : static_cast<std::uint32_t>(std::min<std::int64_t>(left_ / 4, kMaxWindow));
}

std::uint32_t ReceiveWindow::open(TimePoint now) {
  assert(promised_ == 0 && window_ == kMinWindow);
  target_ = std::min(kInitialWindow, kMinWindow + pool_.share());
  resize(target_);
  promised_ = target_;
  granted_ = now;
  return promised_;
}

/// PROTOCOL.md 12: "A sender MUST NOT send more than its credit."
Result<void> ReceiveWindow::received(std::size_t bytes) {
  if (ended_ || bytes > promised_) return Errc::kCreditOverrun;
  promised_ -= static_cast<std::uint32_t>(bytes);
  held_ += static_cast<std::uint32_t>(bytes);
  return {};
}

std::uint32_t ReceiveWindow::consumed(std::size_t bytes, TimePoint now) {
  assert(bytes <= held_);
  held_ -= static_cast<std::uint32_t>(bytes);
  if (ended_) {
    resize(std::max(kMinWindow, held_));
    return 0;
  }
  // PROTOCOL.md 12, advice: "Credit is returned when promised plus held is at most half the window: two small objects a
  // window."
  const std::uint32_t kept = promised_ + held_;
  if (kept > target_ / 2) {
    resize(std::max(target_, kept));
    return 0;
  }
  adapt(now);
  const std::uint32_t grant = target_ - kept;
  if (grant > 0) granted_ = now;
  promised_ += grant;
  resize(target_);
  return grant;
}

/// PROTOCOL.md 12, advice: "A window that was used up within 250 ms doubles, up to 4 MiB, and by at most a quarter of
/// what is left in the pool. [...] One that was not used for 10 s falls back to 64 KiB when it is used next."
void ReceiveWindow::adapt(TimePoint now) {
  const Duration since = now - granted_;
  if (since >= kWindowIdleTime) {
    target_ = std::min(target_, kInitialWindow);
  } else if (since <= kWindowGrowTime) {
    const std::uint32_t more = std::min(target_, pool_.share());
    target_ = std::max(target_, std::min(target_ + more, pool_.max_window()));
  }
  // PROTOCOL.md 12: "Credit once given is never taken back."
  target_ = std::max(target_, promised_ + held_);
}

/// PROTOCOL.md 12: "When EOF or a reset ends a direction, what was promised for it is free again."
void ReceiveWindow::end() {
  ended_ = true;
  promised_ = 0;
  resize(std::max(kMinWindow, held_));
}

void ReceiveWindow::resize(std::uint32_t window) {
  pool_.take(std::int64_t{window} - std::int64_t{window_});
  window_ = window;
}

}  // namespace connd::proto
