// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/trust/state_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include <sys/file.h>
#include <sys/stat.h>

#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

constexpr const char* kDirectoryName = "jami-connd";
// A pid has at most 7 digits; more in the file is not ours.
constexpr std::size_t kMaxPidBytes = 32;

// 0, or errno. Parents are made private too: XDG demands 0700 for what it does not find.
int make_directories(const std::string& path) {
  for (std::size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      // A read-only file system or a directory above that we may not write to matter only if the part is missing.
      const int error = errno;
      struct stat info {};
      if (::stat(part.c_str(), &info) != 0) return error;
    }
    if (at == std::string::npos) return 0;
  }
}

Outcome<void> make_private(const std::string& path) {
  const ipc::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return system_failure(errno, path, "the state directory cannot be opened");
  if (info.st_uid != geteuid()) {
    return failure(std::errc::operation_not_permitted,
                   path + ": the state directory belongs to uid " + std::to_string(info.st_uid) + ", not to " +
                       std::to_string(geteuid()) + "; run as its owner or pass another --state-dir");
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return failure(std::errc::operation_not_permitted,
                   path + ": others may write to the state directory; check what is in it, then chmod 700 it");
  }
  if ((info.st_mode & 07777) != 0700 && ::fchmod(fd.get(), 0700) != 0) {
    return system_failure(errno, path, "the state directory cannot be made private");
  }
  return {};
}

Failure held_by_other(const std::string& path, const std::string& lock_path) {
  std::string holder;
  if (auto text = read_bounded(lock_path, kMaxPidBytes); text && *text) {
    const long pid = std::strtol(std::string(proto::as_text(**text)).c_str(), nullptr, 10);
    if (pid > 0) holder = " (pid " + std::to_string(pid) + ")";
  }
  return failure(std::errc::device_or_resource_busy, path + ": another jami-connd" + holder +
                                                         " uses this state directory; stop it or pass another "
                                                         "--state-dir");
}

Outcome<ipc::Fd> take_lock(const std::string& path) {
  const std::string lock_path = path + "/lock";
  ipc::Fd fd(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return system_failure(errno, lock_path, "cannot be written");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return held_by_other(path, lock_path);
    return system_failure(errno, lock_path, "cannot be locked");
  }
  // The pid only helps the person who starts a second daemon: on a full disk the lock holds without it.
  const std::string pid = std::to_string(getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) == 0) (void)!::pwrite(fd.get(), pid.data(), pid.size(), 0);
  return fd;
}

}  // namespace

Outcome<std::string> resolve_state_dir(const std::string& option, const Environment& environment) {
  if (!option.empty()) return option;
  if (std::string systemd = first_entry(environment.get("STATE_DIRECTORY")); !systemd.empty()) return systemd;
  if (const std::string xdg = environment.get("XDG_STATE_HOME"); xdg.starts_with('/'))
    return xdg + "/" + kDirectoryName;
  if (const std::string home = environment.get("HOME"); home.starts_with('/')) {
    return home + "/.local/state/" + kDirectoryName;
  }
  return failure(std::errc::no_such_file_or_directory, "no state directory is known; pass --state-dir or set HOME");
}

Outcome<StateDir> StateDir::open(const std::string& path) {
  if (const int error = make_directories(path)) {
    return system_failure(error, path, "the state directory cannot be made");
  }
  if (auto made = make_private(path); !made) return made.failure();
  auto lock = take_lock(path);
  if (!lock) return lock.failure();
  remove_leftovers(path);
  return StateDir(path, *std::move(lock));
}

}  // namespace connd::daemon
