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
/// What is both is the machine's. Where nobody has told the mapping, it is guessed: at the address at which others see
/// this machine (`seen_at`, the likeliest first), at the very number, which most NATs keep where they can.
std::vector<proto::Door> doors_to_tell(const Doors& doors, const std::vector<std::string>& addresses,
                                       const std::vector<std::string>& seen_at = {});

}  // namespace connd::daemon
