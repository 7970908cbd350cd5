// SPDX-License-Identifier: GPL-3.0-or-later
/// NetworkMonitor: tells when the addresses of this machine have changed, from the kernel's own messages
/// (rtnetlink(7)), so that nobody has to ask for them again and again.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/loop.h"
#include "ipc/fd.h"

namespace connd::daemon {

class NetworkMonitor {
 public:
  /// `on_change` gets the addresses as local_addresses() gives them, loopback included, when they are others than
  /// before; in a later turn, once for changes that come together.
  NetworkMonitor(Loop& loop, std::function<void(const std::vector<std::string>&)> on_change);

  /// False: the kernel gives no such messages here (a sandbox), and changes are not noticed.
  [[nodiscard]] bool watching() const { return poll_ != nullptr; }

 private:
  void on_readable();
  void on_settled();

  Loop& loop_;
  std::function<void(const std::vector<std::string>&)> on_change_;
  std::vector<std::string> addresses_;
  ipc::Fd socket_;
  std::unique_ptr<Poll> poll_;  // after the socket: it must go first
  Timer settle_;
};

}  // namespace connd::daemon
