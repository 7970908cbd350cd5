// SPDX-License-Identifier: GPL-3.0-or-later
/// One turn of a verb's loop: waits for the daemon, a signal, and whatever else the verb pumps.
#pragma once

#include <functional>
#include <optional>

#include "ipc/client.h"
#include "tools/poll_set.h"
#include "tools/signal_fd.h"

namespace connd::tools {

/// Something with fds of its own: `prepare` says what to wait for, `run` does what can be done then.
class Pumped {
 public:
  virtual ~Pumped() = default;
  virtual void prepare(PollSet& set) = 0;
  virtual void run(const PollSet& set) = 0;
};

/// Blocks until something has happened, lets client and `pumped` (may be null) work, and returns the signal that came:
/// SIGPIPE, too, when nobody reads standard output any more.
std::optional<int> turn(ipc::Client& client, SignalFd& signals, Pumped* pumped = nullptr);

}  // namespace connd::tools
