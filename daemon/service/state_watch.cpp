// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/service/state_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "ipc/fd.h"

namespace connd::daemon {
namespace {

// Less than this is none: a store is written as a new file beside the old one.
constexpr std::uint64_t kLeastBytes = 64 * 1024;

std::string errno_text(int error) {
  return std::system_category().message(error);
}

/// What the file system says of itself.
std::string disk_problem(int directory) {
  struct statvfs disk {};
  if (::fstatvfs(directory, &disk) != 0) return errno_text(errno);
  if ((disk.f_flag & ST_RDONLY) != 0) return errno_text(EROFS);
  // Some blocks are root's alone. A file system that does not know its size says 0.
  const std::uint64_t blocks = ::geteuid() == 0 ? disk.f_bfree : disk.f_bavail;
  if (disk.f_blocks != 0 && blocks * disk.f_frsize < kLeastBytes) return errno_text(ENOSPC);
  if (disk.f_files != 0 && disk.f_ffree == 0) return "no more files fit on its file system";
  return {};
}

/// What only writing shows: quotas, and disks that fail.
std::string write_problem(int directory) {
  const ipc::Fd file(::openat(directory, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  // Not all file systems can; an old kernel says EISDIR.
  if (!file) return errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL ? "" : errno_text(errno);
  const std::array<char, 4096> bytes{};
  return ::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) ? "" : errno_text(errno);
}

}  // namespace

std::string state_problem(const std::string& directory, bool write) {
  const ipc::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_text(errno);
  if (::faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) return errno_text(errno);
  std::string found = disk_problem(fd.get());
  // The lock is what makes it ours: without it, it is another directory of the same name.
  struct stat lock {};
  if (found.empty() && ::fstatat(fd.get(), "lock", &lock, AT_SYMLINK_NOFOLLOW) != 0) {
    found = errno == ENOENT ? "it was removed, or emptied" : errno_text(errno);
  }
  return found.empty() && write ? write_problem(fd.get()) : found;
}

StateWatch::StateWatch(Loop& loop, std::string directory, proto::Duration every)
    : loop_(loop), directory_(std::move(directory)), every_(every), timer_(loop, [this] { look(); }) {
  look();
}

void StateWatch::look() {
  const bool write = looks_++ % kWriteEvery == 0 || !problem_.empty();
  // Two owners, the work and its end: libuv guarantees that they follow each other.
  const auto found = std::make_shared<std::string>();
  loop_.post_work([found, write, directory = directory_] { *found = state_problem(directory, write); },
                  [this, found, alive = std::weak_ptr(alive_)] {
                    if (!alive.expired()) on_looked(*found);
                  });
}

void StateWatch::on_looked(const std::string& found) {
  timer_.arm_in(every_);
  std::string problem;
  if (!found.empty()) {
    problem = "the state directory " + directory_ + " cannot be written: " + found +
              ": changes fail (trust, aliases), and what is new is forgotten at the end";
  }
  if (problem == problem_) return;
  problem_ = std::move(problem);
  if (problem_.empty()) {
    spdlog::info("the state directory can be written again");
  } else {
    spdlog::error("{}", problem_);
  }
}

}  // namespace connd::daemon
