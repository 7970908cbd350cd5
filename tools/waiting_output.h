// SPDX-License-Identifier: GPL-3.0-or-later
/// WaitingOutput: standard output and error that wait for their reader only until a signal is to end the program.
///
/// A program that blocks its signals would stand in write(2) for ever where nobody reads a full pipe. While this lives,
/// stdio's `stdout` and `stderr` write through it.
#pragma once

#include <chrono>
#include <cstdio>

namespace connd::tools {

class WaitingOutput {
 public:
  /// What is still written after ending() may wait this long altogether.
  static constexpr std::chrono::milliseconds kLastWait{1000};

  /// `signal_fd`: readable while a signal is pending that is to end the program. It outlives this. One at a time.
  explicit WaitingOutput(int signal_fd);
  ~WaitingOutput();
  WaitingOutput(const WaitingOutput&) = delete;
  WaitingOutput& operator=(const WaitingOutput&) = delete;

  /// The signal was taken.
  void ending();
  /// Whoever read standard output has gone.
  [[nodiscard]] bool reader_gone() const { return output_.gone; }

 private:
  struct Stream {
    WaitingOutput* owner;
    int fd;
    bool gone = false;
    std::FILE* former = nullptr;
    std::FILE* ours = nullptr;
  };

  void open(Stream& stream, std::FILE*& standard, int mode);
  static void close(Stream& stream, std::FILE*& standard);
  static ssize_t write(void* cookie, const char* data, std::size_t size);
  bool wait_for(int fd);

  const int signal_fd_;
  bool ending_ = false;
  std::chrono::steady_clock::time_point last_{};  ///< end of kLastWait
  Stream output_;
  Stream error_;
};

}  // namespace connd::tools
