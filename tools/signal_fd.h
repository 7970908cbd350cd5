// SPDX-License-Identifier: GPL-3.0-or-later
/// SignalFd: SIGINT, SIGTERM, SIGHUP and SIGCHLD as something to poll.
///
/// While it lives these are blocked, and SIGPIPE and SIGXFSZ are ignored, so that each write says EPIPE or EFBIG.
/// Programs that are started meanwhile need both undone: see spawn.h. Of the first three, those that were ignored
/// before still are. Standard output and error wait until one of them comes: see waiting_output.h.
#pragma once

#include <csignal>
#include <optional>

#include "ipc/fd.h"
#include "tools/waiting_output.h"

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
  /// Whoever read standard output has gone: a SIGPIPE that did not come.
  [[nodiscard]] bool reader_gone() const { return output_.reader_gone(); }

 private:
  sigset_t old_mask_{};
  ipc::Fd fd_;
  ipc::Fd ending_;  ///< without SIGCHLD, and never read
  WaitingOutput output_;
};

}  // namespace connd::tools
