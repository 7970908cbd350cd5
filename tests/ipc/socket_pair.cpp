// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/ipc/socket_pair.h"

#include <filesystem>

namespace connd::test {

int count_open_fds() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++count;
  }
  return count - 1;  // the iterator's own
}

}  // namespace connd::test
