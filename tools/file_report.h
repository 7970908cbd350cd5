// SPDX-License-Identifier: GPL-3.0-or-later
/// FileReport: what send and receive say of their files: a line for each on stdout, one on stderr for each that failed,
/// a summary; or one JSON object each, on stdout. On a terminal, a bar that moves below them.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tools/ctl_context.h"
#include "tools/file_transfer.h"
#include "tools/progress.h"

namespace connd::tools {

class FileReport {
 public:
  /// `verb_done`: "sent" or "received".
  FileReport(const Context& context, std::string verb_done);

  /// Bytes and files that are known to come; a bar shows them as a total.
  void expect(std::uint64_t files, std::uint64_t bytes);
  /// One that is decided. `peer`: its device id, or empty.
  void decided(const FileTransfer& file, const std::string& peer);
  /// One that did not come to a channel.
  void failed(const FilePath& path, const std::string& peer, const FileFailure& failure);
  /// A failure that is not about one file: the exit code is its, if it is the first.
  void failed(const ipc::Error& error, std::string_view hint = {});
  /// The same for what is wrong on this side.
  void failed(const std::string& text);
  /// A file that did not come to a channel for a reason that is told on stderr once for all: it counts.
  void not_begun(const FilePath& path, const ipc::Error& error);
  /// A line on stderr that is no error.
  void say(const std::string& text);

  /// When the bar wants to be drawn again; none if there is no bar.
  [[nodiscard]] std::optional<Progress::Clock::time_point> next_draw() const { return progress_.next(); }
  void draw(std::span<const std::unique_ptr<FileTransfer>> active);

  [[nodiscard]] std::uint64_t done() const { return count_done_; }
  [[nodiscard]] std::uint64_t failures() const { return count_failed_; }
  /// The last line, and the exit code: 0, or of the first failure.
  int end();

 private:
  void print(const ipc::Json& line);
  void count_failed(const FilePath& path, const std::string& peer, const FileFailure& failure);
  void note(int exit_code);

  const Context& context_;
  std::string done_;
  Progress progress_;
  Progress::Clock::time_point begun_ = Progress::Clock::now();
  RateMeter rate_;
  std::uint64_t rated_bytes_ = 0;
  std::uint64_t expected_files_ = 0;
  std::uint64_t expected_bytes_ = 0;
  std::uint64_t settled_bytes_ = 0;  // of files that are decided, either way
  std::uint64_t count_done_ = 0;
  std::uint64_t count_failed_ = 0;
  std::uint64_t bytes_done_ = 0;
  std::optional<int> first_failure_;
};

}  // namespace connd::tools
