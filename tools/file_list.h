// SPDX-License-Identifier: GPL-3.0-or-later
/// What `send` is to send: the files that its arguments stand for, and the names that they get at the receiver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/file_name.h"

namespace connd::tools {

/// Files of one call, a bound for what a directory makes us remember.
inline constexpr std::size_t kMaxFiles = 1'000'000;

struct ListedFile {
  std::string source;      ///< what to open
  FilePath path;           ///< its name
  std::uint64_t size = 0;  ///< as it was when it was listed: for totals
  bool follow = true;      ///< a symbolic link that was named is followed, one that was found is not
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

}  // namespace connd::tools
