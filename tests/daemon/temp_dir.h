// SPDX-License-Identifier: GPL-3.0-or-later
/// A directory of its own for a test, removed with it; and ways to make its disk fail, for real.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/system/environment.h"
#include "proto/bytes.h"

namespace connd::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Names in a directory, sorted; this one by default.
  [[nodiscard]] std::vector<std::string> names(const std::string& below = "") const;

 private:
  std::string path_;
};

/// While it lives, no file of this process grows beyond `max_bytes`: writing more fails with EFBIG, also for root.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(unsigned long max_bytes);
  ~FileSizeLimit();
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  unsigned long before_;
};

void write_file(const std::string& path, std::string_view text, unsigned mode = 0600);
std::string read_file(const std::string& path);
unsigned mode_of(const std::string& path);

/// An environment of these variables alone.
daemon::Environment environment(std::vector<std::pair<std::string, std::string>> variables, unsigned uid = 1000);

/// Runs `check` in a child process, in a mount namespace in which `directory` is a file system of 64 KiB of its own,
/// and returns whether it was true; nothing at all when this machine does not let us make such a namespace.
enum class InNamespace { kTrue, kFalse, kNotPossible };
InNamespace on_small_disk(const std::string& directory, const std::function<bool()>& check);
/// The same with a file system that was made read-only after `prepare`.
InNamespace on_read_only_disk(const std::string& directory, const std::function<void()>& prepare,
                              const std::function<bool()>& check);

}  // namespace connd::test
