// SPDX-License-Identifier: GPL-3.0-or-later
/// Flow control of one channel's two directions, and the pool that bounds all receive windows of a connection
/// (PROTOCOL.md, "Flow control"). Credit counts body bytes of data frames.
#pragma once

#include <cstdint>

#include "proto/limits.h"
#include "proto/result.h"
#include "proto/time.h"

namespace connd::proto {

/// What we may still send on a channel.
class SendCredit {
 public:
  [[nodiscard]] std::uint32_t available() const { return available_; }
  /// Errc::kCreditTooLarge for nothing, or for a sum above kMaxCredit.
  Result<void> add(std::uint64_t bytes);
  /// `bytes` at most available().
  void use(std::uint32_t bytes);

 private:
  std::uint32_t available_ = 0;
};

/// The largest window that is of use on a path of this round trip: between kShortPathWindow and kMaxWindow.
std::uint32_t max_window_for(std::chrono::microseconds round_trip);

/// What all windows of a connection share: bytes beyond kMinWindow each, and the size that one may grow to. One owner;
/// windows refer to it.
class WindowPool {
 public:
  explicit WindowPool(std::uint64_t max_bytes, std::uint32_t max_window = kMaxWindow)
      : left_(static_cast<std::int64_t>(max_bytes)), max_window_(max_window) {}
  [[nodiscard]] std::uint32_t max_window() const { return max_window_; }
  /// What a window may take more: a quarter of what is left, so that later channels find something too.
  [[nodiscard]] std::uint32_t share() const;
  void take(std::int64_t bytes) { left_ -= bytes; }
  [[nodiscard]] std::int64_t left() const { return left_; }

 private:
  std::int64_t left_;
  std::uint32_t max_window_;
};

/// What a peer may send us on a channel, and what of it our app has not taken. Promised plus held never passes the
/// window, and the windows never pass the pool.
class ReceiveWindow {
 public:
  explicit ReceiveWindow(WindowPool& pool) : pool_(pool) {}
  ~ReceiveWindow() { resize(kMinWindow); }
  ReceiveWindow(const ReceiveWindow&) = delete;
  ReceiveWindow& operator=(const ReceiveWindow&) = delete;

  /// The first promise, to be sent with the request or the accept; once.
  std::uint32_t open(TimePoint now);
  /// `bytes` came. Errc::kCreditOverrun when they were not promised.
  Result<void> received(std::size_t bytes);
  /// The app took `bytes`. Returns the credit to send to the peer now, 0 for none yet.
  std::uint32_t consumed(std::size_t bytes, TimePoint now);
  /// The peer will send no more: what was promised is given back to the pool.
  void end();

  [[nodiscard]] std::uint32_t promised() const { return promised_; }
  [[nodiscard]] std::uint32_t held() const { return held_; }
  [[nodiscard]] std::uint32_t window() const { return window_; }

 private:
  void adapt(TimePoint now);
  void resize(std::uint32_t window);

  WindowPool& pool_;
  std::uint32_t target_ = kMinWindow;  ///< the size wanted
  std::uint32_t window_ = kMinWindow;  ///< max(target_, promised_ + held_): what the pool is charged with
  std::uint32_t promised_ = 0;
  std::uint32_t held_ = 0;
  TimePoint granted_{};  ///< when credit was last sent
  bool ended_ = false;
};

}  // namespace connd::proto
