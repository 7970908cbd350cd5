// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/spawn.h"

#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace connd::tools {
namespace {

bool executable(const std::string& path) {
  return ::access(path.c_str(), X_OK) == 0;
}

bool names(std::string_view entry, const std::string& variable) {
  return entry.size() > variable.size() && entry.starts_with(variable) && entry[variable.size()] == '=';
}

/// Our environment with `variables` in place of what bears their names.
std::vector<std::string> environment(const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const auto same = [entry](const auto& variable) { return names(*entry, variable.first); };
    if (std::none_of(variables.begin(), variables.end(), same)) out.emplace_back(*entry);
  }
  for (const auto& [name, value] : variables) out.push_back(name + "=" + value);
  return out;
}

/// As exec wants it; points into `strings`.
std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// posix_spawn's two objects, freed when done.
struct Recipe {
  Recipe() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~Recipe() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Recipe(const Recipe&) = delete;
  Recipe& operator=(const Recipe&) = delete;

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

}  // namespace

bool command_exists(const std::string& name) {
  if (name.find('/') != std::string::npos) return executable(name);
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (true) {
    const auto end = std::min(rest.find(':'), rest.size());
    const std::string_view dir = end == 0 ? "." : rest.substr(0, end);
    if (executable(std::string(dir) + "/" + name)) return true;
    if (end == rest.size()) return false;
    rest.remove_prefix(end + 1);
  }
}

proto::Result<pid_t> spawn(const std::vector<std::string>& command, int fd,
                           const std::vector<std::pair<std::string, std::string>>& variables) {
  Recipe recipe;
  // dup2 clears close-on-exec; `fd` is above 2, where main has put something.
  posix_spawn_file_actions_adddup2(&recipe.actions, fd, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&recipe.actions, fd, STDOUT_FILENO);
  // We block signals and ignore some; programs do not expect to inherit that.
  sigset_t none;
  sigemptyset(&none);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGXFSZ);
  posix_spawnattr_setsigmask(&recipe.attributes, &none);
  posix_spawnattr_setsigdefault(&recipe.attributes, &defaults);
  posix_spawnattr_setflags(&recipe.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  std::vector<std::string> arguments = command;
  std::vector<std::string> entries = environment(variables);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, command.front().c_str(), &recipe.actions, &recipe.attributes,
                                   pointers(arguments).data(), pointers(entries).data());
  if (error != 0) return std::error_code(error, std::system_category());
  return pid;
}

}  // namespace connd::tools
