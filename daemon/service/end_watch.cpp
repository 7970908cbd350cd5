// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/end_watch.h"

#include <unistd.h>

#include <cstdio>
#include <system_error>
#include <thread>

namespace connd::daemon {

void end_in(std::chrono::milliseconds time) {
  try {
    // Nobody joins it: it ends with the process, or ends the process. It uses nothing that the end takes down.
    std::thread([time] {
      std::this_thread::sleep_for(time);
      ::dprintf(STDERR_FILENO,
                "jami-connd: something hangs, a disk perhaps: it ends without waiting any longer, and what was not "
                "written is lost\n");
      ::_exit(1);
    }).detach();
  } catch (const std::system_error&) {  // then the service manager's patience is the limit
  }
}

}  // namespace connd::daemon
