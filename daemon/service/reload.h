// SPDX-License-Identifier: GPL-3.0-or-later
/// What a configuration that was read again changes.
#pragma once

#include <string>
#include <vector>

#include "daemon/settings/config.h"

namespace connd::daemon {

struct Reload {
  Config next;                       ///< the running one, with what takes effect now
  std::vector<std::string> changed;  ///< these: "idle-timeout: 300 -> 60"
  std::vector<std::string> waiting;  ///< names of options that differ and take effect at the next start
};

/// Pure. `running` is what the daemon runs with, not what it read last: a change that is taken back is none.
Reload plan_reload(const Config& running, const Config& wanted);

}  // namespace connd::daemon
