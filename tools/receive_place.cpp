// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/receive_place.h"

#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <sys/stat.h>

#include "ipc/fd.h"

namespace connd::tools {
namespace {

// A directory and what it lies in. A path that the system takes has 2,048 parts at most; mounts can add to it.
constexpr std::size_t kMaxLevels = 8192;

struct Place {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

Place place_of(int fd) {
  struct stat what {};
  return ::fstat(fd, &what) == 0 ? Place{what.st_dev, what.st_ino} : Place{};
}

bool has(int directory, const char* name) {
  struct stat what {};
  return ::fstatat(directory, name, &what, AT_SYMLINK_NOFOLLOW) == 0;
}

/// A work tree has a .git, also a file; a repository without one has these three.
bool is_of_git(int directory) {
  return has(directory, ".git") || (has(directory, "HEAD") && has(directory, "objects") && has(directory, "refs"));
}

/// Calls `visit` with a descriptor of the directory, and of each that it lies in; until it says true, which is
/// returned.
template <class Visit>
bool climb(ipc::Fd at, Visit visit) {
  for (std::size_t level = 0; at && level < kMaxLevels; ++level) {
    if (visit(at.get())) return true;
    ipc::Fd above(::openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!above || place_of(above.get()) == place_of(at.get())) return false;
    at = std::move(above);
  }
  return false;
}

}  // namespace

std::string unfit_place(int directory, const std::vector<std::string>& homes) {
  const Place ours = place_of(directory);
  const auto is_ours = [&ours](int fd) { return place_of(fd) == ours; };
  for (const auto& home : homes) {
    ipc::Fd at(::open(home.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!at) continue;
    if (is_ours(at.get())) return "it is a home directory";
    if (climb(std::move(at), is_ours)) return "a home directory lies in it";
  }
  ipc::Fd at(::openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  return climb(std::move(at), is_of_git) ? "it is in a git work tree or repository" : "";
}

std::vector<std::string> homes_beside(int directory) {
  std::vector<std::string> homes;
  const auto add = [&homes](const char* home) {
    if (home != nullptr && home[0] == '/') homes.emplace_back(home);
  };
  add(std::getenv("HOME"));
  struct stat what {};
  for (const uid_t uid : {::geteuid(), ::fstat(directory, &what) == 0 ? what.st_uid : ::geteuid()}) {
    const passwd* user = ::getpwuid(uid);
    if (user != nullptr) add(user->pw_dir);
  }
  return homes;
}

}  // namespace connd::tools
