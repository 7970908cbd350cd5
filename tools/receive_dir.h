// SPDX-License-Identifier: GPL-3.0-or-later
/// ReceiveDir: the directory that received files go to, and NewFile: one of them while it is written.
///
/// Nothing is made outside of the directory: each part of a path is opened from the one before, and no symbolic link is
/// followed. A file has a hidden name of its own (`.jami-receive-…`) until `commit` has it whole and on the disk; if
/// that does not come, it is removed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <sys/types.h>

#include "ipc/fd.h"
#include "proto/bytes.h"
#include "tools/file_name.h"
#include "tools/file_wire.h"

namespace connd::tools {

/// Why a file is not taken: what the sender is told.
struct FileProblem {
  FileCode code = FileCode::kFailed;
  std::string text;  ///< one clause, without paths of this machine
};
using MaybeProblem = std::optional<FileProblem>;

class NewFile {
 public:
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  [[nodiscard]] MaybeProblem write(proto::Bytes bytes);

 private:
  friend class ReceiveDir;
  NewFile(ipc::Fd directory, std::string name, const FileHeader& header)
      : directory_(std::move(directory)), name_(std::move(name)), header_(header) {}
  [[nodiscard]] MaybeProblem make();
  [[nodiscard]] MaybeProblem set_attributes(mode_t umask) const;
  [[nodiscard]] MaybeProblem rename(bool force);
  void take_back() const;

  ipc::Fd directory_;
  std::string name_;
  FileHeader header_;
  std::string hidden_;     // empty once it has its own name
  bool replaced_ = false;  // perhaps: another file had the name before
  ipc::Fd fd_;
  std::uint64_t written_ = 0;
  std::uint64_t flushed_ = 0;
};

class ReceiveDir {
 public:
  /// `force`: files that are there are replaced. Error: an errno in words.
  [[nodiscard]] static ipc::Outcome<ReceiveDir> open(const std::string& path, bool force);

  /// Why a file of this name would not be taken, as far as can be seen now.
  [[nodiscard]] MaybeProblem check(const FilePath& path) const;
  /// Makes the directories that the path needs, and the hidden file, with room for all of it. `problem` is set, and
  /// null returned, when that fails.
  [[nodiscard]] std::unique_ptr<NewFile> create(const FilePath& path, const FileHeader& header,
                                                MaybeProblem& problem) const;
  /// Gives a whole file its attributes and its name, and brings it and its directory to the disk. Blocks. Any thread;
  /// several at once, each with a file of its own.
  [[nodiscard]] MaybeProblem commit(NewFile& file) const;

 private:
  ReceiveDir(ipc::Fd fd, bool force, mode_t umask) : fd_(std::move(fd)), force_(force), umask_(umask) {}
  struct Walk {
    ipc::Fd directory;  // none: not there
    MaybeProblem problem;
  };
  [[nodiscard]] Walk walk(const FilePath& path, bool make) const;

  ipc::Fd fd_;
  bool force_;
  mode_t umask_;
};

}  // namespace connd::tools
