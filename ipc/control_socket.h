// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
/// Where the control socket of jami-connd is, and how to connect to it.
#pragma once

#include <string>
#include <vector>

#include "ipc/error.h"
#include "ipc/fd.h"

namespace connd::ipc {

inline constexpr const char* kSystemSocketPath = "/run/jami-connd/control.sock";

/// Where the directory of each user that is logged in is, by its uid (systemd-logind(8), pam_systemd(8)).
inline constexpr const char* kUserDirectories = "/run/user";

/// Paths to try, in this order: `explicit_path` alone if it is not empty; else `$JAMI_CONND_SOCKET` alone if it is set
/// and not empty; else the user service's below $XDG_RUNTIME_DIR and, if that is this user's, below `users`/UID (cron,
/// su and sudo do not set the variable, or leave another user's), then the system service's. An XDG_RUNTIME_DIR that is
/// another user's comes last.
[[nodiscard]] std::vector<std::string> control_socket_paths(const std::string& explicit_path = {},
                                                            const std::string& users = kUserDirectories);

/// A socket connected to the first of `paths` that answers. Errors: daemon-absent, and not-permitted where none answers
/// and one or more may not be used; both say what to do.
[[nodiscard]] Outcome<Fd> connect_control_socket(const std::vector<std::string>& paths);

}  // namespace connd::ipc
