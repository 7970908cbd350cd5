// SPDX-License-Identifier: GPL-3.0-or-later
/// NetworkMonitor: tells when the addresses of this machine have changed, and when something else has that may have
/// cut it off for a while, from the kernel's own messages (rtnetlink(7)), so that nobody has to ask again and again.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/event_loop/loop.h"
#include "daemon/system/link_news.h"
#include "ipc/fd.h"

namespace connd::daemon {

class NetworkMonitor {
 public:
  /// `on_change` gets the addresses as local_addresses() gives them, loopback included, when they are others than
  /// before; in a later turn, once for changes that come together.
  /// `on_stirred`: the addresses are the same, but a link has its carrier again, a default route came or went, or the
  /// kernel had more to tell than it could keep. A router that starts anew shows as no more than that. Once for what
  /// comes together, as well.
  NetworkMonitor(Loop& loop, std::function<void(const std::vector<std::string>&)> on_change,
                 std::function<void()> on_stirred);

  /// False: the kernel gives no such messages here (a sandbox), and changes are not noticed.
  [[nodiscard]] bool watching() const { return poll_ != nullptr; }

 private:
  void on_readable();
  void on_settled();

  Loop& loop_;
  std::function<void(const std::vector<std::string>&)> on_change_;
  std::function<void()> on_stirred_;
  std::vector<std::string> addresses_;
  LinkNews news_;
  bool stirred_ = false;
  ipc::Fd socket_;
  std::unique_ptr<Poll> poll_;  // after the socket: it must go first
  Timer settle_;
};

}  // namespace connd::daemon
