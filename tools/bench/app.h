// SPDX-License-Identifier: GPL-3.0-or-later
/// App: a process that uses channels as any app would, and the bench's handle of it. The same code sends, takes and
/// pings whether its descriptors come from a daemon or from a bare relay.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipc/fd.h"
#include "tools/bench/board.h"
#include "tools/bench/child.h"

namespace connd::bench {

/// Where an app gets its channels. With `fds` it has them; else it is a client of a daemon: with `peer` it opens
/// channels of `uri` there, without it listens for them.
struct Plug {
  std::vector<ipc::Fd> fds;
  std::string socket_path;
  std::string peer;
  std::string uri;
};

/// What an app can be told. Each answers when it is done.
enum class Task : std::uint32_t {
  kConnect,   ///< to its daemon, and listen where it is the one that listens
  kOpen,      ///< opens `count` channels, many at once
  kOpenEach,  ///< opens `count` channels, each when the one before is there; samples: how long each took
  kExpect,    ///< waits until it has `count` channels in all
  kSend,      ///< writes into all its channels while the board says running
  kTake,      ///< reads from all its channels, counting on the board, while the board says running
  kPing,      ///< sends 32 bytes and waits for them, on its first channel, `count` times or for two seconds, but ten
              ///< times at least; samples: round trips
  kEcho,      ///< sends back what comes on its first channel while the board says running
  kClose,     ///< closes all channels; waits until the daemon has told of their ends
};

class App {
 public:
  /// The plug's descriptors go to the process; `board` outlives it.
  App(Side side, Plug plug, Board& board);

  void start(Task task, std::uint32_t count = 0);
  /// Seconds that the task took, by the app's own clock.
  double finish();
  /// Of the last task that takes any.
  [[nodiscard]] std::size_t samples() const { return samples_; }
  double run(Task task, std::uint32_t count = 0) {
    start(task, count);
    return finish();
  }
  [[nodiscard]] const Child& child() const { return child_; }

 private:
  ipc::Fd command_;
  Child child_;
  std::size_t samples_ = 0;
};

}  // namespace connd::bench
