// SPDX-License-Identifier: GPL-3.0-or-later
/// RAII over libuv: one loop, owned and run by one thread, and the handles that live on it.
///
/// Rules that hold for every handle here:
/// - It is made, used and destroyed on the loop's thread. `Loop::post` alone may be called from elsewhere; what
///   `Loop::post_work` is given runs on libuv's pool.
/// - After its destructor has returned no callback of it runs. libuv's memory is freed in its close callback.
/// - A callback may destroy the very handle that calls it.
#pragma once

#include <uv.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "proto/time.h"

namespace connd::daemon {

class Loop {
 public:
  Loop();
  /// Runs what is closing to its end, and waits for the pool's work, of which nobody is told any more: those who asked
  /// for it may be gone. Asserts that nothing else is left.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs until `stop`. Tasks posted before `run` are run by it.
  void run();
  void stop();

  /// Runs `task` on the loop's thread in a later turn. Thread-safe. Tasks of one thread keep their order. Tasks that
  /// are still queued when the loop is destroyed are destroyed without being run.
  void post(std::function<void()> task);

  /// Runs `work` on a pool thread, which gives way to this one, then `done` on the loop's thread. `work` always runs to
  /// its end, and `done` after it, unless the loop is being destroyed then: it is destroyed without being run.
  void post_work(std::function<void()> work, std::function<void()> done);

  /// The loop's time, monotonic, cached once per turn.
  [[nodiscard]] proto::TimePoint now() const { return proto::TimePoint{proto::Duration{uv_now(&loop_)}}; }
  /// For who gives somebody a time from now on: a turn may have taken long already.
  void update_now() { uv_update_time(&loop_); }
  [[nodiscard]] bool on_thread() const;
  /// The longest that a turn took in the last minute or two, waiting for I/O not counted: so long, something that had
  /// come had to wait.
  [[nodiscard]] std::chrono::microseconds longest_turn() const;
  [[nodiscard]] uv_loop_t* raw() { return &loop_; }

 private:
  void run_posted();
  void on_turn();

  uv_loop_t loop_{};
  uv_prepare_t* turn_ = nullptr;
  std::uint64_t turn_began_ = 0;  ///< all in nanoseconds of uv_hrtime()
  std::uint64_t waited_ = 0;
  std::uint64_t minute_began_ = 0;
  std::uint64_t longest_now_ = 0;     ///< of this minute
  std::uint64_t longest_before_ = 0;  ///< of the minute before it
  bool ending_ = false;
  uv_async_t* wake_ = nullptr;
  uv_thread_t thread_{};
  std::mutex mutex_;  // guards posted_ alone: the one lock of the daemon's own code
  std::vector<std::function<void()>> posted_;
};

/// From now on the calling thread gives way to the loop's when both want to run: what a channel carries comes first.
/// For threads whose work nobody waits for in microseconds: the pool's, OpenDHT's.
void give_way() noexcept;
/// How much nicer (setpriority(2)) such a thread is: it gets a fourth of a core that it has to share, not nothing.
inline constexpr int kGiveWayNice = 5;

namespace detail {
/// Owns a heap-allocated libuv handle whose `data` points at the wrapper; closes it, and lets libuv free it.
template <class Handle>
struct HandleCloser {
  void operator()(Handle* handle) const {
    handle->data = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* h) { delete reinterpret_cast<Handle*>(h); });
  }
};
template <class Handle>
using HandlePtr = std::unique_ptr<Handle, HandleCloser<Handle>>;
}  // namespace detail

/// Calls back once, at or after a time of the loop's clock.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> on_fire);
  /// (Re)arms for `when`; kNever stops it. Arming for the time it is armed for costs nothing.
  void arm(proto::TimePoint when);
  void arm_in(proto::Duration delay) { arm(loop_.now() + delay); }
  void stop() { arm(proto::kNever); }
  [[nodiscard]] bool armed() const { return when_ != proto::kNever; }

 private:
  Loop& loop_;
  std::function<void()> on_fire_;
  proto::TimePoint when_ = proto::kNever;
  detail::HandlePtr<uv_timer_t> handle_;
};

/// Level-triggered readiness of one file descriptor, which stays the caller's: close it after this is destroyed.
class Poll {
 public:
  static constexpr int kReadable = UV_READABLE;
  static constexpr int kWritable = UV_WRITABLE;

  /// `on_ready` gets the ready bits; an error or hang-up is reported as all the bits asked for. After an error nothing
  /// is wanted any more: who has not read to the end yet calls want() again.
  Poll(Loop& loop, int fd, std::function<void(int events)> on_ready);
  /// Which events are wanted; 0 stops.
  void want(int events);
  [[nodiscard]] int wanted() const { return wanted_; }

 private:
  std::function<void(int)> on_ready_;
  int wanted_ = 0;
  detail::HandlePtr<uv_poll_t> handle_;
};

class SignalWatcher {
 public:
  SignalWatcher(Loop& loop, int signum, std::function<void()> on_signal);

 private:
  std::function<void()> on_signal_;
  detail::HandlePtr<uv_signal_t> handle_;
};

/// Runs once in each loop turn, right before the loop waits for I/O: where work gathered in the turn is flushed.
class BeforeWait {
 public:
  BeforeWait(Loop& loop, std::function<void()> on_turn);
  /// With `true` the loop does not wait in this turn: there is more to do.
  void keep_awake(bool on);
  /// Off, it costs nothing per turn. Starts on; may be switched from inside its callback.
  void want(bool on);

 private:
  std::function<void()> on_turn_;
  detail::HandlePtr<uv_prepare_t> handle_;
  detail::HandlePtr<uv_idle_t> idle_;
  bool awake_ = false;
};

/// Runs once in each loop turn while it is on, before every BeforeWait, and keeps the loop from waiting meanwhile.
class EachTurn {
 public:
  EachTurn(Loop& loop, std::function<void()> on_turn);
  /// Starts off. Switching to what it is costs nothing.
  void want(bool on);

 private:
  std::function<void()> on_turn_;
  detail::HandlePtr<uv_idle_t> handle_;
  bool on_ = false;
};

}  // namespace connd::daemon
