// SPDX-License-Identifier: GPL-3.0-or-later
/// SignalFd: SIGINT, SIGTERM, SIGHUP and SIGCHLD as something to poll.
///
/// While it lives these are blocked, and SIGPIPE is ignored, so that each write says EPIPE. Programs that are started
/// meanwhile need both undone: see spawn.h.
#pragma once

#include <csignal>
#include <optional>

#include "ipc/fd.h"

namespace connd::tools {

/// Exit code of a program that ended by `signal`, as a shell shows it.
constexpr int exit_code_of_signal(int signal) {
  return 128 + signal;
}

class SignalFd {
 public:
  SignalFd();
  ~SignalFd();
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The next signal that has come, if any. Never blocks.
  [[nodiscard]] std::optional<int> next();

 private:
  sigset_t old_mask_{};
  ipc::Fd fd_;
};

}  // namespace connd::tools
