// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/signal_fd.h"

#include <sys/signalfd.h>

namespace connd::tools {
namespace {

/// A signal that is ignored since before us stays so: nohup's SIGHUP, SIGINT of a script's background job.
bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t ending_signals() {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (!is_ignored(signal)) sigaddset(&mask, signal);
  }
  return mask;
}

ipc::Fd signal_fd(const sigset_t& mask) {
  return ipc::Fd(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

SignalFd::SignalFd() : ending_(signal_fd(ending_signals())), output_(ending_.get()) {
  sigset_t mask = ending_signals();
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_BLOCK, &mask, &old_mask_);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);  // ignored, the kernel would collect our children
  fd_ = signal_fd(mask);
}

SignalFd::~SignalFd() {
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGXFSZ, SIG_DFL);
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
}

std::optional<int> SignalFd::next() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  if (info.ssi_signo != SIGCHLD) output_.ending();
  return static_cast<int>(info.ssi_signo);
}

}  // namespace connd::tools
