// SPDX-License-Identifier: GPL-3.0-or-later
/// The real jami-connctl, run with pipes at its three ends.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "ipc/fd.h"

namespace connd::test {

class Program {
 public:
  struct Ends {
    int in = -1;   ///< instead of a pipe
    int out = -1;  ///< the same
  };
  /// jami-connctl with `arguments`.
  explicit Program(std::vector<std::string> arguments) : Program(std::move(arguments), Ends{}) {}
  Program(std::vector<std::string> arguments, Ends ends);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  ipc::Fd in;   ///< writes to its stdin
  ipc::Fd out;  ///< reads its stdout
  ipc::Fd err;  ///< reads its stderr

  /// To stdin, all of it.
  void write(const std::string& bytes) const;
  /// The next `size` bytes of stdout, waited for.
  [[nodiscard]] std::string read(std::size_t size) const;
  /// Reads stderr until `text` has come; the whole of it so far.
  std::string wait_for_error(const std::string& text);
  void signal(int number) const;
  /// Closes its stdin, reads stdout and stderr to their ends, and gives its exit code; 128 + n for signal n.
  int wait();
  /// The exit code of one whose output nobody reads.
  int end_unread();
  [[nodiscard]] const std::string& output() const { return output_; }
  [[nodiscard]] const std::string& errors() const { return errors_; }
  [[nodiscard]] bool error_is_one_line() const;

 private:
  pid_t pid_ = -1;
  std::string output_;
  std::string errors_;
};

/// All that can be read until the end.
std::string read_all(int fd);

}  // namespace connd::test
