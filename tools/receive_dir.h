// SPDX-License-Identifier: GPL-3.0-or-later
/// ReceiveDir: the directory that received files go to, and NewFile: one of them while it is written.
///
/// Nothing is made outside of the directory: each part of a path is opened from the one before, and no symbolic link is
/// followed. A file has a hidden name of its own (`.jami-receive-…`) until `commit` has it whole and on the disk; if
/// that does not come, it is removed. Directories are made by `commit` alone, so that a file that is refused, or does
/// not come to its end, leaves nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <sys/types.h>

#include "ipc/fd.h"
#include "proto/bytes.h"
#include "tools/file_name.h"
#include "tools/file_wire.h"

namespace connd::tools {

/// Why a file is not taken: what the sender is told, and what is said here.
struct FileProblem {
  FileCode code = FileCode::kFailed;
  std::string text;    ///< one clause for the sender, without paths of this machine
  std::string here{};  ///< the same, for who reads it at this side; empty: as `text`

  [[nodiscard]] const std::string& said_here() const { return here.empty() ? text : here; }
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
  NewFile(ipc::Fd hidden_in, const FilePath& path, const FileHeader& header)
      : hidden_in_(std::move(hidden_in)), path_(path), header_(header) {}
  [[nodiscard]] MaybeProblem make();
  [[nodiscard]] MaybeProblem set_attributes(mode_t dropped) const;
  [[nodiscard]] MaybeProblem rename(bool force);
  void take_back() const;

  ipc::Fd hidden_in_;  // the last directory of its path that was there when it began
  ipc::Fd directory_;  // the one that it belongs to, once it has its name
  FilePath path_;
  FileHeader header_;
  std::string hidden_;     // empty once it has its own name
  bool replaced_ = false;  // perhaps: another file had the name before
  ipc::Fd fd_;
  std::uint64_t written_ = 0;
  std::uint64_t flushed_ = 0;
};

struct ReceiveRules {
  bool force = false;        ///< files that are there are replaced
  bool executables = false;  ///< what the sender may execute can be executed here too
};

class ReceiveDir {
 public:
  /// Error: an errno in words.
  [[nodiscard]] static ipc::Outcome<ReceiveDir> open(const std::string& path, ReceiveRules rules);

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// True when it was removed, or its path leads elsewhere by now: what came would be found by nobody.
  [[nodiscard]] bool gone() const;

  /// Why a file of this name would not be taken, as far as can be seen now.
  [[nodiscard]] MaybeProblem check(const FilePath& path) const;
  /// Makes the hidden file, which takes room on the disk as it is written. `problem` is set, and null returned, when
  /// that fails, or there is no room for all of it now.
  [[nodiscard]] std::unique_ptr<NewFile> create(const FilePath& path, const FileHeader& header,
                                                MaybeProblem& problem) const;
  /// Gives a whole file its attributes, the directories that its path needs, and its name, and brings it and them to
  /// the disk. Blocks. Any thread; several at once, each with a file of its own.
  [[nodiscard]] MaybeProblem commit(NewFile& file) const;

 private:
  ReceiveDir(ipc::Fd fd, std::string path, ReceiveRules rules, mode_t umask)
      : fd_(std::move(fd)), path_(std::move(path)), rules_(rules), umask_(umask) {}
  struct Walk {
    ipc::Fd directory;      // the last of the path's that is there
    std::size_t depth = 0;  // how many of the path's parts led to it
    MaybeProblem problem;
  };
  /// What commits share that run at once.
  struct Shared {
    std::mutex mutex;   // while directories come and go: one file's must not go while another gets its name in them
    bool made = false;  // any directory, in this run
  };
  [[nodiscard]] Walk walk(const FilePath& path) const;
  [[nodiscard]] MaybeProblem place(NewFile& file, std::size_t& made) const;
  [[nodiscard]] MaybeProblem make_way(NewFile& file, std::size_t& made) const;
  void unmake_way(const FilePath& path, std::size_t made) const;
  [[nodiscard]] MaybeProblem sync_way(const NewFile& file) const;

  ipc::Fd fd_;
  std::string path_;
  ReceiveRules rules_;
  mode_t umask_;
  std::unique_ptr<Shared> shared_ = std::make_unique<Shared>();
};

}  // namespace connd::tools
