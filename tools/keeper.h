// SPDX-License-Identifier: GPL-3.0-or-later
/// Keeper: a program with a channel as its stdin and stdout, and a process of ours that looks after it and all that it
/// starts, whatever sessions and groups those make, until none of them is left.
///
/// The process is a fork of this one that holds no descriptor of it. It is the "child subreaper" (prctl(2)) of the
/// program: what loses its parent becomes its child. So it knows them all, and outlives this process if need be: when
/// this one is killed, too, they are told and ended.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "ipc/fd.h"
#include "proto/result.h"

namespace connd::tools {

class Keeper {
 public:
  /// How the program's channel ended.
  enum class End : char {
    kClean = 'c',   ///< who is left has the grace to end by itself, then SIGHUP, and the grace once more, then SIGKILL
    kBroken = 'b',  ///< SIGHUP at once, SIGKILL after the grace. Also when this process ends before it said anything
  };

  /// Starts `command` as spawn() does, in a session of its own. The error is the system's.
  static proto::Result<Keeper> start(const std::vector<std::string>& command, int fd,
                                     const std::vector<std::pair<std::string, std::string>>& variables,
                                     std::chrono::milliseconds grace);

  /// Readable when the program has ended, and when all have.
  [[nodiscard]] int fd() const { return socket_.get(); }
  /// The program's status (wait(2)) once it has ended.
  [[nodiscard]] const std::optional<int>& status() const { return status_; }
  /// The program, and all that it started, are no more.
  [[nodiscard]] bool gone() const { return gone_; }
  /// Looks what has happened. Does not wait.
  void update();
  /// The channel is over. Only the first time counts.
  void over(End end);

 private:
  Keeper(ipc::Fd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  ipc::Fd socket_;
  pid_t pid_;
  std::optional<int> status_;
  bool told_ = false;
  bool gone_ = false;
};

}  // namespace connd::tools
