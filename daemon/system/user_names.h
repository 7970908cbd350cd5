// SPDX-License-Identifier: GPL-3.0-or-later
/// Users and groups of this machine, by name. Blocks: whoever serves the names (nsswitch.conf) may be on a network.
#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

namespace connd::daemon {

/// Nothing when there is none of that name.
std::optional<uid_t> user_id(const std::string& name);
std::optional<gid_t> group_id(const std::string& name);

}  // namespace connd::daemon
