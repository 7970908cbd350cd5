// SPDX-License-Identifier: GPL-3.0-or-later
/// Starting a program with a channel as its stdin and stdout.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "proto/result.h"

namespace connd::tools {

/// True if `name` is, or is found in $PATH as, a file that can be executed.
[[nodiscard]] bool command_exists(const std::string& name);

/// Starts `command` (program and arguments, no shell) with `fd` as stdin and stdout, our stderr, our environment plus
/// `variables`, ordinary signals, and a session of its own: whoever calls from elsewhere does not get this terminal.
/// All our other fds are close-on-exec. The error is the system's.
[[nodiscard]] proto::Result<pid_t> spawn(const std::vector<std::string>& command, int fd,
                                         const std::vector<std::pair<std::string, std::string>>& variables);

}  // namespace connd::tools
