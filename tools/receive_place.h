// SPDX-License-Identifier: GPL-3.0-or-later
/// Directories that `receive` does not open to others by itself: what lies there is read by programs that obey it.
#pragma once

#include <string>
#include <vector>

namespace connd::tools {

/// Why the directory that this descriptor has is no place for what others send: it is the top of a home directory or
/// lies above one (shells and others read what is there), or it is in a git work tree or repository. Empty if it is a
/// place. `homes` are paths; those that are not there count for nothing.
[[nodiscard]] std::string unfit_place(int directory, const std::vector<std::string>& homes);
/// $HOME, and what the user database has for this user and for the directory's owner.
[[nodiscard]] std::vector<std::string> homes_beside(int directory);

}  // namespace connd::tools
