// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/signal_fd.h"

#include <sys/signalfd.h>

namespace connd::tools {

SignalFd::SignalFd() {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&mask, signal);
  sigprocmask(SIG_BLOCK, &mask, &old_mask_);
  std::signal(SIGPIPE, SIG_IGN);
  fd_.reset(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
}

SignalFd::~SignalFd() {
  std::signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
}

std::optional<int> SignalFd::next() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace connd::tools
