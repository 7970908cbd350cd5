// SPDX-License-Identifier: GPL-3.0-or-later
/// What `send` is to send: the files that its arguments stand for, and the names that they get at the receiver.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "ipc/fd.h"
#include "tools/file_name.h"

namespace connd::tools {

/// Files of one call, a bound for what a directory makes us remember.
inline constexpr std::size_t kMaxFiles = 1'000'000;

/// Directories that were named and are kept open; more are opened again for each of their files.
inline constexpr std::size_t kMaxKeptTrees = 128;

/// A directory that was named, as it was when it was listed.
struct ListedTree {
  std::shared_ptr<const ipc::Fd> kept{};  ///< owned by all files of it; null: opened again, and must be the same then
  dev_t device = 0;
  ino_t inode = 0;
  std::size_t depth = 0;  ///< parts of a file's name that stand for the directory itself
};
struct ListedFile {
  std::string source;                ///< what was named: the file, or the directory that it was found in
  FilePath path;                     ///< its name
  std::uint64_t size = 0;            ///< as it was when it was listed: for totals
  std::optional<ListedTree> tree{};  ///< none: the file itself was named
};
struct FileList {
  std::vector<ListedFile> files;
  struct Skipped {
    std::string source;
    std::string why;
  };
  std::vector<Skipped> skipped;  ///< what cannot be sent: an error each
  std::string usage_error;       ///< what makes the whole call wrong; empty if nothing does
};

/// A file `a/b` is named `b`. With `recursive`, a directory `a/b` gives `b/…` for all files in it, in the order of
/// their names; one that has no name of its own (`.`, `..`, `/`) gives `…`. Files that are missing are listed all the
/// same: opening them tells.
[[nodiscard]] FileList list_files(const std::vector<std::string>& arguments, bool recursive);

/// Opens it for reading, whatever it is by now. Symbolic links are followed in what was named, and nowhere below a
/// directory that was listed, also if one has come there since. Error: an errno in words, or that the directory is
/// another one now.
[[nodiscard]] ipc::Outcome<ipc::Fd> open_listed(const ListedFile& file);

}  // namespace connd::tools
