// SPDX-License-Identifier: GPL-3.0-or-later
/// Environment: what the process was given by whoever started it; an argument, so that tests can give another.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

namespace connd::daemon {

struct Environment {
  /// A variable's value; empty when it is not set. An empty variable means "not set" to all that we read.
  std::function<std::string(const char* name)> get;
  uid_t uid = 0;  ///< the effective one

  /// This process's. Looked up when asked: call it while there is one thread.
  static Environment of_process() {
    return {[](const char* name) {
              const char* value = std::getenv(name);
              return std::string(value != nullptr ? value : "");
            },
            geteuid()};
  }
};

/// The first of the entries that systemd joins with colons (systemd.exec, RUNTIME_DIRECTORY).
inline std::string first_entry(const std::string& colon_separated) {
  return colon_separated.substr(0, colon_separated.find(':'));
}

}  // namespace connd::daemon
