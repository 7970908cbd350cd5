// SPDX-License-Identifier: GPL-3.0-or-later
/// What attempts need of the daemon's own TCP port.
#pragma once

#include <string>
#include <vector>

#include "daemon/path/front_door.h"
#include "daemon/path/mapping_probe.h"
#include "proto/ice_description.h"

namespace connd::daemon {

/// Both outlive every attempt.
struct Doors {
  FrontDoor& door;
  MappingProbe& probe;
};

/// Where a peer may find our front door: what a NAT makes of it first, then `addresses`, which are the machine's own.
/// What is both is the machine's.
std::vector<proto::Door> doors_to_tell(const Doors& doors, const std::vector<std::string>& addresses);

}  // namespace connd::daemon
