// SPDX-License-Identifier: GPL-3.0-or-later
/// What a Daemon has once it has an identity, and anew with another one. For daemon.cpp and daemon_status.cpp.
#pragma once

#include <memory>
#include <optional>

#include "daemon/path/doors.h"
#include "daemon/service/daemon.h"

namespace connd::daemon {

struct Daemon::Network {
  std::unique_ptr<DhtClient> dht;
  std::unique_ptr<DhtSignalling> signalling;
  std::unique_ptr<FrontDoor> door;
  std::unique_ptr<MappingProbe> probe;
  std::optional<MappingProbe::Question> first_look;  ///< so that the first attempt need not wait for it
  std::optional<Doors> doors;
  std::unique_ptr<ConnectionManager> manager;
};

}  // namespace connd::daemon
