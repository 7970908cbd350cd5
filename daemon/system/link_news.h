// SPDX-License-Identifier: GPL-3.0-or-later
/// LinkNews: what of the kernel's messages about links and routes (rtnetlink(7)) may mean that this machine was cut off
/// for a while: a link has its carrier again, the default route came or went.
///
/// No socket and no clock; on one thread. The messages are the kernel's own; one that is cut short is passed over.
#pragma once

#include <cstddef>
#include <map>

namespace connd::daemon {

class LinkNews {
 public:
  /// Machines have a handful, those with containers hundreds. Of more, nothing is remembered.
  static constexpr std::size_t kMaxLinks = 1'024;

  /// What one recv() gave, aligned as nlmsghdr is. True: one of its messages says so.
  bool read(const char* data, std::size_t size);
  [[nodiscard]] std::size_t links() const { return running_.size(); }

 private:
  bool on_link(int index, bool running);

  std::map<int, bool> running_;  ///< links by index, as they were told of; at most kMaxLinks
};

}  // namespace connd::daemon
