// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/daemon/temp_dir.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace connd::test {
namespace {

constexpr int kNotPossibleStatus = 77;

// A mount namespace of our own; as root of a user namespace where we are not root.
bool enter_namespace() {
  const unsigned uid = geteuid();
  const unsigned gid = getegid();
  if (uid == 0) return unshare(CLONE_NEWNS) == 0;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
  write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
  return geteuid() == 0;
}

InNamespace in_child(const std::function<int()>& run) {
  const pid_t child = fork();
  if (child == 0) _exit(run());
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return InNamespace::kFalse;
  if (WEXITSTATUS(status) == kNotPossibleStatus) return InNamespace::kNotPossible;
  return WEXITSTATUS(status) == 0 ? InNamespace::kTrue : InNamespace::kFalse;
}

bool mount_small(const std::string& directory) {
  return enter_namespace() && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=64k,mode=700") == 0;
}

}  // namespace

TempDir::TempDir() : path_((std::filesystem::temp_directory_path() / "connd-test-XXXXXX").string()) {
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
}

TempDir::~TempDir() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::vector<std::string> TempDir::names(const std::string& below) const {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(path_ + "/" + below)) {
    out.push_back(entry.path().filename().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

FileSizeLimit::FileSizeLimit(unsigned long max_bytes) {
  signal(SIGXFSZ, SIG_IGN);  // else the signal kills before the error is returned
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  before_ = limit.rlim_cur;
  limit.rlim_cur = max_bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

FileSizeLimit::~FileSizeLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = before_;
  setrlimit(RLIMIT_FSIZE, &limit);
}

void write_file(const std::string& path, std::string_view text, unsigned mode) {
  std::ofstream(path, std::ios::binary) << text;
  chmod(path.c_str(), mode);
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

unsigned mode_of(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 07777u : 0;
}

daemon::Environment environment(std::vector<std::pair<std::string, std::string>> variables, unsigned uid) {
  return {[variables = std::move(variables)](const char* name) {
            for (const auto& [key, value] : variables) {
              if (key == name) return value;
            }
            return std::string();
          },
          uid};
}

InNamespace on_small_disk(const std::string& directory, const std::function<bool()>& check) {
  return in_child([&] {
    if (!mount_small(directory)) return kNotPossibleStatus;
    return check() ? 0 : 1;
  });
}

InNamespace on_read_only_disk(const std::string& directory, const std::function<void()>& prepare,
                              const std::function<bool()>& check) {
  return in_child([&] {
    if (!mount_small(directory)) return kNotPossibleStatus;
    prepare();
    if (mount(nullptr, directory.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) {
      return kNotPossibleStatus;
    }
    return check() ? 0 : 1;
  });
}

}  // namespace connd::test
