// SPDX-License-Identifier: GPL-3.0-or-later
/// What the tests of ipc/ share: socket pairs, pipes that can be told apart, and a raw peer.
#pragma once

#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "ipc/fd.h"

namespace connd::test {

inline std::pair<ipc::Fd, ipc::Fd> socket_pair() {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
  return {ipc::Fd(fds[0]), ipc::Fd(fds[1])};
}

/// The reading end of a pipe whose only content is `number`: each fd is known by what is in it.
inline ipc::Fd numbered_fd(std::uint32_t number) {
  std::array<int, 2> fds{};
  REQUIRE(::pipe(fds.data()) == 0);
  const ipc::Fd write_end(fds[1]);
  REQUIRE(::write(write_end.get(), &number, sizeof number) == sizeof number);
  return ipc::Fd(fds[0]);
}
inline std::uint32_t number_in(const ipc::Fd& fd) {
  std::uint32_t number = 0;
  REQUIRE(fd);
  REQUIRE(::read(fd.get(), &number, sizeof number) == sizeof number);
  return number;
}

inline void write_all(int fd, const std::string& bytes) {
  REQUIRE(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

/// Descriptors that this process has open.
int count_open_fds();

}  // namespace connd::test
