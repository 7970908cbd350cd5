// SPDX-License-Identifier: GPL-3.0-or-later
/// OwnPort: the number of the daemon's TCP port (path/front_door.h): what was asked for, or what is likely to stay.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/path/front_door.h"
#include "daemon/settings/config.h"
#include "daemon/trust/state_disk.h"

namespace connd::daemon {

/// Used on the loop's thread.
class OwnPort {
 public:
  /// Reads the number of last time, if there is one: while the daemon starts. All outlive this.
  OwnPort(StateDisk& disk, const Config& config, const std::string& state_dir);

  /// The port of --port, or none. Else that of --dht-port, if one was given: then who knows the one knows the other,
  /// and one number is to be opened in a firewall. Else the one of last time, or any that is free, which is remembered.
  Outcome<std::unique_ptr<FrontDoor>> open(Loop& loop, EdgePoller& poller);

 private:
  StateDisk& disk_;
  const Config& config_;
  const std::string file_;
  std::uint16_t remembered_;  ///< 0: none
};

/// Who is asked what a NAT makes of that port: what --stun says.
std::vector<HostPort> stun_places(const Config& config);

}  // namespace connd::daemon
