// SPDX-License-Identifier: GPL-3.0-or-later
/// Networks of a test's own: namespaces, and cables between them. Needs root. After OpenDHT's headers, if any: Catch
/// and those have both something called WARN.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

#include "ipc/fd.h"

namespace connd::daemon::test {

inline void shell(const std::string& command) {
  INFO(command);
  REQUIRE(std::system(command.c_str()) == 0);
}

/// A network namespace of the calling thread, which is back in its former one when this goes. It has no name; it lives
/// as long as threads, sockets or this refer to it. Sockets and threads belong to the one in which they were made.
class Namespace {
 public:
  Namespace() : former_(current()), entered_(unshare(CLONE_NEWNET) == 0), own_(current()) {}
  ~Namespace() { (void)setns(former_.get(), CLONE_NEWNET); }
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  bool entered() const { return entered_; }
  std::string path() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(own_.get()); }

 private:
  static ipc::Fd current() { return ipc::Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }
  ipc::Fd former_;
  bool entered_;
  ipc::Fd own_;
};

/// With no address of IPv6: the kernel would make one, and have it ready at a time of its own.
inline void plug_in(const std::string& interface, const std::string& address) {
  shell("ip link set lo up && ip link set " + interface + " addrgenmode none up && ip addr add " + address +
        "/24 dev " + interface + " && ip route add default dev " + interface);
}

/// Until both ends of its cable are plugged in and the kernel has noticed: what is sent before is lost.
inline void wait_for_carrier(const std::string& interface) {
  shell("until ip link show " + interface + " | grep -q 'state UP'; do :; done");
}

}  // namespace connd::daemon::test
