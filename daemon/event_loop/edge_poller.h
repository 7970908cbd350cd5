// SPDX-License-Identifier: GPL-3.0-or-later
/// EdgePoller: edge-triggered readiness for the descriptors of the data path.
///
/// uv_poll is level-triggered and changes its epoll registration whenever interest changes: two system calls each time
/// a window closes and opens. Here a descriptor is registered once, for both directions, in an epoll set of our own,
/// and costs no epoll_ctl until it goes. The set itself is one descriptor that libuv watches.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <sys/epoll.h>

#include "daemon/event_loop/loop.h"
#include "ipc/fd.h"
#include "proto/result.h"

namespace connd::daemon {

/// Who is told. It must outlive its Watch.
class EdgeHandler {
 public:
  /// `events` are EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR as the kernel gave them: hints that
  /// something has changed since last time, not that it is still so. A handler that stops reading or writing before
  /// EAGAIN is not told again by the kernel: it remembers that it can go on, or asks with Watch::again. May destroy any
  /// Watch, its own too, and make new ones.
  virtual void on_edge(std::uint32_t events) = 0;

 protected:
  EdgeHandler() = default;
  EdgeHandler(const EdgeHandler&) = default;
  EdgeHandler& operator=(const EdgeHandler&) = default;
  ~EdgeHandler() = default;
};

/// Lives on the loop's thread, outlives all its watches, and is not destroyed from inside a handler.
class EdgePoller {
 public:
  /// Events taken in one turn of the loop; what is left comes in the next turn, before what comes later. So a flood of
  /// ready descriptors cannot keep timers and the rest of the loop waiting for longer than this many handlers run.
  static constexpr std::size_t kMaxEventsPerTurn = 1024;

  /// Throws std::system_error when the kernel gives no epoll set (start-up).
  explicit EdgePoller(Loop& loop);
  ~EdgePoller();
  EdgePoller(const EdgePoller&) = delete;
  EdgePoller& operator=(const EdgePoller&) = delete;

  /// One registration; ends with the object. Destroy it *before* its descriptor is closed: an epoll set follows the
  /// open file, which may live on in a duplicate. After the destructor its handler is not called, not even for events
  /// that were already fetched.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { reset(); }

    explicit operator bool() const { return poller_ != nullptr; }
    void reset();
    /// Calls the handler with these events in the next turn of the loop, after I/O had its chance: for a handler that
    /// stopped for fairness while there was more to do. Several calls before that turn are one, their events joined.
    void again(std::uint32_t events);

   private:
    friend class EdgePoller;
    Watch(EdgePoller& poller, std::uint32_t slot) : poller_(&poller), slot_(slot) {}

    EdgePoller* poller_ = nullptr;
    std::uint32_t slot_ = 0;
  };

  /// Registers `fd` (non-blocking, the caller's) for everything, edge-triggered. What is ready already is reported in a
  /// coming turn. Errors: what epoll_ctl says (EEXIST, EPERM for a regular file, ENOSPC, ENOMEM, EBADF).
  proto::Result<Watch> watch(int fd, EdgeHandler& handler);

  /// Watches that are alive.
  [[nodiscard]] std::size_t size() const { return slots_.size() - free_.size(); }

 private:
  /// Events name a slot and its generation, never an object: an event that was fetched before its watch went finds a
  /// newer generation there and is dropped, also if slot, fd number and handler address are in use again.
  struct Slot {
    EdgeHandler* handler = nullptr;
    int fd = -1;
    std::uint32_t generation = 0;
    std::uint32_t again = 0;  ///< events asked for with Watch::again, 0 when not queued
  };
  using Token = std::uint64_t;  ///< generation in the high half, slot in the low one

  [[nodiscard]] Token token_of(std::uint32_t slot) const;
  std::uint32_t take_slot();
  void give_back(std::uint32_t slot);
  void release(std::uint32_t slot);
  void ask_again(std::uint32_t slot, std::uint32_t events);
  void on_readable();
  void run_again();
  [[nodiscard]] Slot* find(Token token);

  ipc::Fd epoll_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<Token> again_;
  std::vector<Token> running_;  ///< the list that run_again walks; kept for its capacity
  std::array<epoll_event, kMaxEventsPerTurn> events_{};
  EachTurn each_turn_;
  Poll poll_;
};

}  // namespace connd::daemon
