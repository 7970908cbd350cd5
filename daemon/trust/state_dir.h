// SPDX-License-Identifier: GPL-3.0-or-later
/// StateDir: the directory that holds what the daemon must remember, and the lock that makes it this daemon's alone.
#pragma once

#include <string>

#include "daemon/system/environment.h"
#include "daemon/system/outcome.h"
#include "ipc/fd.h"

namespace connd::daemon {

/// Where the state is: `option` (--state-dir), else the first entry of $STATE_DIRECTORY (systemd.exec), else
/// $XDG_STATE_HOME/jami-connd, else ~/.local/state/jami-connd. Relative XDG paths are ignored, as the XDG Base
/// Directory Specification demands. Failure: none of them is known.
Outcome<std::string> resolve_state_dir(const std::string& option, const Environment& environment);

/// Movable; the lock is held as long as the object, or the process, lives. Any thread.
class StateDir {
 public:
  /// Makes the directory, and those above it, where missing, sets mode 0700 and takes the lock. Failures, one line that
  /// names the path: it is not a directory, is not ours, others may write to it, is read-only or full, or another
  /// daemon has it (with that daemon's pid).
  static Outcome<StateDir> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// The path of a file in it.
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  StateDir(std::string path, ipc::Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  ipc::Fd lock_;
};

}  // namespace connd::daemon
