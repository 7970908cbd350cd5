// SPDX-License-Identifier: GPL-3.0-or-later
/// ControlListener: the listening control socket, and its place in the file system.
#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

#include "daemon/system/outcome.h"
#include "ipc/fd.h"

namespace connd::daemon {

/// Owns the socket and, where it made it, the path: that goes with it, if it is still ours.
class ControlListener {
 public:
  struct Place {
    std::string path;
    mode_t mode = 0600;
    std::optional<gid_t> group;  ///< of the socket
  };

  /// Listens at a path. The directory above is made (0700, or 0755 for a mode that lets a group in) if it is missing.
  /// The socket appears whole: with its mode, its group, and listening. What a dead daemon left there is replaced; a
  /// live daemon's is not. `PATH.lock` is held meanwhile and for as long as this lives, so two daemons that start at
  /// once do not replace each other. Blocks for the file system only. Failures: "another jami-connd answers on PATH"
  /// (EADDRINUSE), the path is too long or something else than a socket, or the system's.
  static Outcome<ControlListener> bind(const Place& place);
  /// The socket that systemd passed (sd_listen_fds(3)); nothing when it passed none. Failures: it passed more than one,
  /// or none that is a listening Unix stream socket.
  static Outcome<std::optional<ControlListener>> from_systemd();

  ControlListener(ControlListener&& other) noexcept = default;
  ControlListener& operator=(ControlListener&&) = delete;
  ~ControlListener();

  [[nodiscard]] int fd() const { return socket_.get(); }
  /// Empty for a socket that systemd made.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  ControlListener(ipc::Fd socket, ipc::Fd lock, std::string path);

  ipc::Fd socket_;
  ipc::Fd lock_;
  std::string path_;
  dev_t device_ = 0;  ///< of the path when it was made: whoever put another there keeps it
  ino_t inode_ = 0;
};

}  // namespace connd::daemon
