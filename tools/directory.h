// SPDX-License-Identifier: GPL-3.0-or-later
/// Directories that are opened one from the other, so that no symbolic link leads out of the first.
#pragma once

#include <span>
#include <string>

#include "ipc/fd.h"

namespace connd::tools {

/// The directory `name` in `at`; none, and errno, if it is anything else, also a symbolic link.
[[nodiscard]] ipc::Fd open_directory(int at, const char* name);
/// The directory below `top` that these names lead to, each one a directory as above. Holds two descriptors at most.
[[nodiscard]] ipc::Fd descend(ipc::Fd top, std::span<const std::string> names);

}  // namespace connd::tools
