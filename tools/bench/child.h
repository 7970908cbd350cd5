// SPDX-License-Identifier: GPL-3.0-or-later
/// Child: a process of the bench, and what it costs. Every failure of the bench is an exception: nothing can be
/// measured after it.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace connd::bench {

/// One line that says what went wrong.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// With errno's text behind `what`.
[[noreturn]] void fail_with_errno(const std::string& what);

/// Which of the two devices a process plays a part in. Each side has half of the processors, as two machines would have
/// their own: else it is the scheduler's luck whether a message crosses from one processor to another, which on two
/// idle ones costs more than all the rest of a round trip, and figures of the same thing differ fivefold.
enum class Side { kCaller, kCallee };

/// A process of ours: killed and waited for when the object goes, and by the kernel when the bench dies.
class Child {
 public:
  Child() = default;
  /// A copy of this process that runs `body` and ends. An exception of `body` is shown on stderr.
  static Child fork(Side side, const std::function<void()>& body);
  /// A program; stdin is empty, stdout and stderr go to the file `log`.
  static Child exec(Side side, const std::vector<std::string>& command, const std::string& log);

  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { kill(); }

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool running() const;
  /// SIGTERM, and SIGKILL when that does not help within ten seconds.
  void terminate();
  void kill();

  /// Seconds of processor time so far, user and system.
  [[nodiscard]] double cpu_seconds() const;
  /// Resident memory.
  [[nodiscard]] double rss_bytes() const;

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  bool wait(bool block);

  pid_t pid_ = -1;
};

/// Kernel memory that cannot be reclaimed (slab objects: sockets, files), of the whole machine: a change of it is an
/// estimate of what was made meanwhile.
double kernel_bytes();

double now_seconds();
void sleep_seconds(double seconds);

}  // namespace connd::bench
