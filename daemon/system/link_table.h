// SPDX-License-Identifier: GPL-3.0-or-later
/// LinkTable: the interfaces of this machine and what they are made of, as the kernel lists them (rtnetlink(7)), to
/// tell bridges that containers and virtual machines hang on from those that lead out.
///
/// A value; on one thread. The messages are the kernel's own; one that is cut short is passed over.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace connd::daemon {

class LinkTable {
 public:
  /// Machines with containers have hundreds. Of more, nothing is known.
  static constexpr std::size_t kMaxLinks = 4'096;

  /// Asks the kernel, which answers at once. Empty where it does not tell.
  static LinkTable of_this_machine();

  /// What one recv() gave, aligned as nlmsghdr is. False: that was the last.
  bool read(const char* data, std::size_t size);

  /// A bridge with no port but ends of virtual cables and taps: docker's, libvirt's, lxd's. Everyone has one with the
  /// same address, and behind it are this machine's own guests.
  [[nodiscard]] bool is_guest_bridge(std::string_view interface) const;

 private:
  enum class Kind { kOther, kBridge, kGuest };
  struct Link {
    int index = 0;
    int master = 0;  ///< the bridge that it is a port of, if any
    Kind kind = Kind::kOther;
    std::string name;
  };
  void add(const char* message, std::size_t size);

  std::vector<Link> links_;
};

}  // namespace connd::daemon
