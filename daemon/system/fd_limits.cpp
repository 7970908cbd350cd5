// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/fd_limits.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include <sys/resource.h>
#include <sys/select.h>

namespace connd::daemon {

FdLimits FdLimits::derive(std::uint64_t soft, std::uint64_t hard, std::uint64_t wanted_channels) {
  FdLimits out;
  out.soft = soft;
  out.hard = hard;
  out.shared = soft > kReserve ? soft - kReserve : 0;
  // Where little is left, a quarter goes to the rest, so that a small limit still has both.
  const std::uint64_t beside = std::min(kBesideChannels, out.shared / 4);
  const std::uint64_t most = (out.shared - beside) / kPerChannel;
  out.max_channels = wanted_channels == 0 ? most : std::min(wanted_channels, most);
  return out;
}

Outcome<FdLimits> raise_fd_limit(std::uint64_t wanted_channels) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return system_failure(errno, "RLIMIT_NOFILE", "cannot be read");
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  const auto limits = FdLimits::derive(limit.rlim_cur, limit.rlim_max, wanted_channels);
  if (limits.max_channels == 0) {
    return failure(std::errc::too_many_files_open, "the limit of open files is " + std::to_string(limit.rlim_cur) +
                                                       ", too low for any channel; raise it (ulimit -n, LimitNOFILE=)");
  }
  return limits;
}

ipc::Fd lift_fd(ipc::Fd fd) {
  if (fd.get() >= FD_SETSIZE) return fd;
  ipc::Fd high(::fcntl(fd.get(), F_DUPFD_CLOEXEC, FD_SETSIZE));
  return high ? std::move(high) : std::move(fd);
}

}  // namespace connd::daemon
