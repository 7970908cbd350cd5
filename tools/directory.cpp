// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/directory.h"

#include <fcntl.h>

namespace connd::tools {

ipc::Fd open_directory(int at, const char* name) {
  return ipc::Fd(::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

ipc::Fd descend(ipc::Fd top, std::span<const std::string> names) {
  for (const auto& name : names) {
    if (top) top = open_directory(top.get(), name.c_str());
  }
  return top;
}

}  // namespace connd::tools
