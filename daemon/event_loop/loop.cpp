// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/event_loop/loop.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <sys/resource.h>

namespace connd::daemon {
namespace {

/// How long a long turn is remembered, once or twice.
constexpr std::uint64_t kTurnWindow = 60'000'000'000;

// libuv's set-up calls fail only for want of memory or descriptors at start-up; the caller cannot go on without.
void check(int rc, const char* what) {
  if (rc == 0) return;
  std::fprintf(stderr, "jami-connd: %s: %s\n", what, uv_strerror(rc));
  std::abort();
}

struct Work {
  uv_work_t request{};
  const bool& loop_ends;
  std::function<void()> work;
  std::function<void()> done;
};

}  // namespace

Loop::Loop() {
  check(uv_loop_init(&loop_), "uv_loop_init");
  thread_ = uv_thread_self();
  wake_ = new uv_async_t;
  check(uv_async_init(&loop_, wake_, [](uv_async_t* h) { static_cast<Loop*>(h->data)->run_posted(); }), "uv_async");
  wake_->data = this;
  check(uv_loop_configure(&loop_, UV_METRICS_IDLE_TIME), "uv_loop_configure");
  turn_ = new uv_prepare_t;
  check(uv_prepare_init(&loop_, turn_), "uv_prepare_init");
  turn_->data = this;
  uv_prepare_start(turn_, [](uv_prepare_t* h) { static_cast<Loop*>(h->data)->on_turn(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(turn_));
}

Loop::~Loop() {
  assert(on_thread());
  ending_ = true;
  uv_close(reinterpret_cast<uv_handle_t*>(wake_), [](uv_handle_t* h) { delete reinterpret_cast<uv_async_t*>(h); });
  wake_ = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(turn_), [](uv_handle_t* h) { delete reinterpret_cast<uv_prepare_t*>(h); });
  // Close callbacks and work under way still have to run; nothing else is left to keep the loop alive.
  // A stop() that no run() has taken yet ends one such run at once.
  while (uv_run(&loop_, UV_RUN_DEFAULT) != 0) {
  }
  const int rc = uv_loop_close(&loop_);
  assert(rc == 0);
  (void)rc;
}

void Loop::run() {
  thread_ = uv_thread_self();
  uv_run(&loop_, UV_RUN_DEFAULT);
}

void Loop::stop() {
  uv_stop(&loop_);
}

bool Loop::on_thread() const {
  const uv_thread_t self = uv_thread_self();
  return uv_thread_equal(&self, &thread_) != 0;
}

void Loop::post(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  posted_.push_back(std::move(task));
  if (wake_ != nullptr) uv_async_send(wake_);
}

void Loop::on_turn() {
  const std::uint64_t now = uv_hrtime();
  const std::uint64_t waited = uv_metrics_idle_time(&loop_);
  const std::uint64_t took = (now - turn_began_) - (waited - waited_);
  if (turn_began_ != 0 && took > longest_now_) longest_now_ = took;
  turn_began_ = now;
  waited_ = waited;
  if (now - minute_began_ < kTurnWindow) return;
  minute_began_ = now;
  longest_before_ = std::exchange(longest_now_, 0);
}

std::chrono::microseconds Loop::longest_turn() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::nanoseconds(std::max(longest_now_, longest_before_)));
}

void Loop::run_posted() {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

void Loop::post_work(std::function<void()> work, std::function<void()> done) {
  assert(on_thread());
  auto* job = new Work{{}, ending_, std::move(work), std::move(done)};
  job->request.data = job;
  check(uv_queue_work(
            &loop_, &job->request,
            [](uv_work_t* r) {
              give_way();
              static_cast<Work*>(r->data)->work();
            },
            [](uv_work_t* r, int /*status*/) {
              const std::unique_ptr<Work> owned(static_cast<Work*>(r->data));
              if (!owned->loop_ends) owned->done();
            }),
        "uv_queue_work");
}

void give_way() noexcept {
  // Linux: 0 is the calling thread, not all of the process. A thread that may not stays as it is.
  thread_local const int once = ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + kGiveWayNice);
  (void)once;
}

Timer::Timer(Loop& loop, std::function<void()> on_fire)
    : loop_(loop), on_fire_(std::move(on_fire)), handle_(new uv_timer_t) {
  check(uv_timer_init(loop.raw(), handle_.get()), "uv_timer_init");
  handle_->data = this;
}

void Timer::arm(proto::TimePoint when) {
  if (when == when_) return;
  when_ = when;
  if (when == proto::kNever) {
    uv_timer_stop(handle_.get());
    return;
  }
  const auto delay = when - loop_.now();
  const auto ms = delay.count() > 0 ? static_cast<std::uint64_t>(delay.count()) : 0;
  uv_timer_start(
      handle_.get(),
      [](uv_timer_t* h) {
        auto* self = static_cast<Timer*>(h->data);
        self->when_ = proto::kNever;
        const auto fire = self->on_fire_;  // a copy: the callback may destroy the timer
        fire();
      },
      ms, 0);
}

Poll::Poll(Loop& loop, int fd, std::function<void(int)> on_ready)
    : on_ready_(std::move(on_ready)), handle_(new uv_poll_t) {
  check(uv_poll_init(loop.raw(), handle_.get(), fd), "uv_poll_init");
  handle_->data = this;
}

void Poll::want(int events) {
  if (events == wanted_) return;
  wanted_ = events;
  if (events == 0) {
    uv_poll_stop(handle_.get());
    return;
  }
  uv_poll_start(handle_.get(), events, [](uv_poll_t* h, int status, int ready) {
    auto* self = static_cast<Poll*>(h->data);
    const auto call = self->on_ready_;  // a copy: the callback may destroy the handle
    // libuv stops a handle whose descriptor has an error: want() must start it anew, also for the same events.
    call(status < 0 ? std::exchange(self->wanted_, 0) : ready);
  });
}

SignalWatcher::SignalWatcher(Loop& loop, int signum, std::function<void()> on_signal)
    : on_signal_(std::move(on_signal)), handle_(new uv_signal_t) {
  check(uv_signal_init(loop.raw(), handle_.get()), "uv_signal_init");
  handle_->data = this;
  check(uv_signal_start(
            handle_.get(),
            [](uv_signal_t* h, int) {
              const auto call = static_cast<SignalWatcher*>(h->data)->on_signal_;
              call();
            },
            signum),
        "uv_signal_start");
}

BeforeWait::BeforeWait(Loop& loop, std::function<void()> on_turn)
    : on_turn_(std::move(on_turn)), handle_(new uv_prepare_t), idle_(new uv_idle_t) {
  check(uv_prepare_init(loop.raw(), handle_.get()), "uv_prepare_init");
  check(uv_idle_init(loop.raw(), idle_.get()), "uv_idle_init");
  handle_->data = this;
  want(true);
}

void BeforeWait::want(bool on) {
  if (on) {  // libuv ignores the start of a started handle and the stop of a stopped one
    uv_prepare_start(handle_.get(), [](uv_prepare_t* h) { static_cast<BeforeWait*>(h->data)->on_turn_(); });
  } else {
    uv_prepare_stop(handle_.get());
  }
}

void BeforeWait::keep_awake(bool on) {
  if (on == awake_) return;
  awake_ = on;
  if (on) {
    uv_idle_start(idle_.get(), [](uv_idle_t*) {});
  } else {
    uv_idle_stop(idle_.get());
  }
}

EachTurn::EachTurn(Loop& loop, std::function<void()> on_turn) : on_turn_(std::move(on_turn)), handle_(new uv_idle_t) {
  check(uv_idle_init(loop.raw(), handle_.get()), "uv_idle_init");
  handle_->data = this;
}

void EachTurn::want(bool on) {
  if (on == on_) return;
  on_ = on;
  if (on) {
    uv_idle_start(handle_.get(), [](uv_idle_t* h) {
      const auto call = static_cast<EachTurn*>(h->data)->on_turn_;  // a copy: the callback may destroy the handle
      call();
    });
  } else {
    uv_idle_stop(handle_.get());
  }
}

}  // namespace connd::daemon
