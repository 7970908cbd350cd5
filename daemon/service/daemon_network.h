// SPDX-License-Identifier: GPL-3.0-or-later
/// What a Daemon has once it has an identity, and anew with another one. For daemon.cpp and daemon_status.cpp.
#pragma once

#include "daemon/service/daemon.h"

namespace connd::daemon {

struct Daemon::Network {
  std::unique_ptr<DhtClient> dht;
  std::unique_ptr<DhtSignalling> signalling;
  std::unique_ptr<ConnectionManager> manager;
};

}  // namespace connd::daemon
