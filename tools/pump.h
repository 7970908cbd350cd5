// SPDX-License-Identifier: GPL-3.0-or-later
/// Pump: moves bytes from one fd to another until the source ends or either fails. One of the two is a channel.
///
/// A pipe at the other side is joined by splice(2): no copy, and no blocking although the pipe may be in blocking mode,
/// which is shared with other programs and thus not ours to change. Everything else goes through one buffer. The
/// source is read only when the sink has taken what was read before: back-pressure is the sink's.
///
/// Owns no fd. One thread. Never blocks, but for terminals and devices that take less than poll said.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tools/poll_set.h"

namespace connd::tools {

class Pump {
 public:
  using Clock = PollSet::Clock;
  enum class State {
    kRunning,
    kEnded,        ///< the source has ended, and the sink has all of it
    kReadFailed,   ///< see `error`
    kWriteFailed,  ///< see `error`
    kStopped,
  };

  Pump(int source, int sink);

  void prepare(PollSet& set);
  void run(const PollSet& set);
  /// Moves no more; what is in the buffer is dropped.
  void stop();

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool running() const { return state_ == State::kRunning; }
  [[nodiscard]] int error() const { return error_; }  ///< errno of the failure
  [[nodiscard]] Clock::time_point last_move() const { return last_move_; }
  /// True while bytes that have come wait for the sink.
  [[nodiscard]] bool holds_data() const { return at_ < filled_ || (source_ready_ && !sink_ready_); }

 private:
  enum class Kind { kPipe, kSocket, kOther };
  static Kind kind_of(int fd);
  bool step();
  bool splice_some();
  bool fill();
  bool drain();
  bool failed(State state, int error);

  int source_;
  int sink_;
  Kind source_kind_;
  Kind sink_kind_;
  bool splice_;
  State state_ = State::kRunning;
  int error_ = 0;
  // What poll said last, until the kernel says EAGAIN. A fd that is ready is not polled.
  bool source_ready_ = false;
  bool sink_ready_ = false;
  PollSet::Index source_index_ = PollSet::kNone;
  PollSet::Index sink_index_ = PollSet::kNone;
  std::vector<std::uint8_t> buffer_;
  std::size_t at_ = 0;
  std::size_t filled_ = 0;
  Clock::time_point last_move_ = Clock::now();
};

}  // namespace connd::tools
