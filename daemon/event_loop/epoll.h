// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cerrno>
#include <system_error>

#include <sys/epoll.h>

namespace connd::daemon {

/// A new epoll instance, which is the caller's to close. Throws std::system_error: only starts of the process and of
/// the network make one.
inline int make_epoll() {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  return fd;
}

}  // namespace connd::daemon
