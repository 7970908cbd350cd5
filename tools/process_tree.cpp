// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <sys/syscall.h>
#include <sys/types.h>

#include "ipc/fd.h"

namespace connd::tools {
namespace {

/// Passes over /proc: each finds those that were born while the last one looked.
constexpr int kPasses = 4;

/// The parent of a process, from /proc/PID/stat (proc(5)); nothing when it has gone.
std::optional<pid_t> parent_of(pid_t pid) {
  const ipc::Fd file(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> bytes{};
  const ssize_t n = file ? ::read(file.get(), bytes.data(), bytes.size() - 1) : -1;
  if (n <= 0) return std::nullopt;
  // "PID (NAME) STATE PPID": the name may hold anything, also a parenthesis.
  const std::string_view text(bytes.data(), static_cast<std::size_t>(n));
  const std::size_t behind = text.rfind(')');
  if (behind == std::string_view::npos || behind + 4 >= text.size()) return std::nullopt;
  return static_cast<pid_t>(std::strtol(bytes.data() + behind + 4, nullptr, 10));
}

std::map<pid_t, std::vector<pid_t>> children_of_all() {
  std::map<pid_t, std::vector<pid_t>> children;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr) {
    const auto pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid <= 0) continue;
    if (const auto parent = parent_of(pid)) children[*parent].push_back(pid);
  }
  return children;
}

std::set<pid_t> descendants() {
  const auto children = children_of_all();
  std::set<pid_t> found;
  std::vector<pid_t> parents = {::getpid()};
  while (!parents.empty()) {
    const auto its = children.find(parents.back());
    parents.pop_back();
    if (its == children.end()) continue;
    for (const pid_t child : its->second) {
      if (found.insert(child).second) parents.push_back(child);
    }
  }
  return found;
}

/// What the descriptor names is looked at after it was opened: from then on no other process can take its place.
bool signal_one(pid_t pid, const std::set<pid_t>& family, int signal) {
  const ipc::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return false;
  const auto parent = parent_of(pid);
  if (!parent || (*parent != ::getpid() && !family.contains(*parent))) return false;
  return ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0;
}

}  // namespace

bool signal_descendants(int signal) {
  std::set<pid_t> done;
  for (int pass = 0; pass < kPasses; ++pass) {
    const std::set<pid_t> family = descendants();
    const std::size_t before = done.size();
    for (const pid_t pid : family) {
      if (!done.contains(pid) && signal_one(pid, family, signal)) done.insert(pid);
    }
    if (done.size() == before) break;
  }
  return !done.empty();
}

}  // namespace connd::tools
