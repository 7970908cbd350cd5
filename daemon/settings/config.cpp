// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/settings/config.h"

#include <optional>
#include <set>

#include <CLI/CLI.hpp>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/settings/options.h"
#include "daemon/system/atomic_file.h"

namespace connd::daemon {
namespace {

constexpr std::size_t kMaxConfigFileBytes = 1024 * 1024;
constexpr int kUsageError = 2;
constexpr const char* kConfigHelp =
    "read options from this file, one 'key = value' a line (default: jami-connd/jami-connd.conf in $XDG_CONFIG_HOME, "
    "~/.config)";

std::string help_of(const OptionSpec& option) {
  std::string text(option.help);
  if (!option.is_flag() && !option.default_value.empty())
    text += " (default: " + std::string(option.default_value) + ")";
  return text;
}

void add_option(CLI::App& app, const OptionSpec& option, CommandLine& given) {
  const std::string name = "--" + std::string(option.name);
  if (option.is_flag()) {
    app.add_flag(name, given.flags[option.name], help_of(option));
    return;
  }
  // One value each time, and all of them kept: whether it may be repeated is for us to say.
  app.add_option(name, given.values[option.name], help_of(option))
      ->type_name(std::string(option.value))
      ->type_size(1)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// One line that is not empty; `seen` has the options of the lines above.
Outcome<void> read_line(const std::string& line, std::set<std::string_view>& seen, Config& config) {
  const std::size_t equals = line.find('=');
  if (equals == std::string::npos) return invalid("not 'key = value'");
  const std::string key = trimmed(line.substr(0, equals));
  const OptionSpec* const option = find_option(key);
  if (option == nullptr) return invalid("there is no option '" + key + "'");
  const bool first = seen.insert(option->name).second;
  if (!first && !option->repeatable()) return invalid(key + ": given twice");
  if (first) clear_option(*option, config);
  auto applied = apply_option(*option, trimmed(line.substr(equals + 1)), config);
  if (!applied) return invalid(key + ": " + applied.failure().text);
  return {};
}

// What the command line says, over what the file said.
Outcome<void> apply_given(const CommandLine& given, Config& config) {
  for (const OptionSpec& option : options()) {
    if (option.is_flag()) {
      if (!given.flags.at(option.name)) continue;
      if (auto applied = apply_option(option, "true", config); !applied) return applied;
      continue;
    }
    const auto& values = given.values.at(option.name);
    const std::string name = "--" + std::string(option.name);
    if (values.size() > 1 && !option.repeatable()) return invalid(name + ": given twice");
    if (!values.empty()) clear_option(option, config);
    for (const std::string& value : values) {
      if (auto applied = apply_option(option, value, config); !applied) {
        return invalid(name + ": " + applied.failure().text);
      }
    }
  }
  return {};
}

/// Of a directory that is there.
std::optional<uid_t> owner_of(const std::string& directory) {
  struct stat what {};
  if (::stat(directory.c_str(), &what) != 0 || !S_ISDIR(what.st_mode)) return std::nullopt;
  return what.st_uid;
}

}  // namespace

Outcome<void> read_config_file(const std::string& path, Config& config) {
  const auto bytes = read_bounded(path, kMaxConfigFileBytes);
  if (!bytes) return bytes.failure();
  if (!*bytes) return failure(std::errc::no_such_file_or_directory, path + ": there is no such configuration file");
  const std::string text(proto::as_text(**bytes));
  std::set<std::string_view> seen;
  std::size_t number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = trimmed(text.substr(at, end - at));
    at = end + 1;
    if (line.empty() || line[0] == '#') continue;
    if (auto read = read_line(line, seen, config); !read) {
      return invalid(path + ":" + std::to_string(number) + ": " + read.failure().text);
    }
  }
  return {};
}

CommandLineExit usage_error(const Failure& failure) {
  return {kUsageError, "jami-connd: " + failure.text + "; see jami-connd --help\n"};
}

std::variant<CommandLine, CommandLineExit> parse_command_line(const std::vector<std::string>& arguments) {
  CommandLine given;
  CLI::App app("jami-connd: encrypted connections between devices, their channels as file descriptors", "jami-connd");
  app.set_version_flag("--version", "jami-connd " CONND_VERSION, "print the version");
  app.set_help_flag("--help", "print this help");
  app.add_option("--config", given.config_file, kConfigHelp)->type_name("FILE");
  for (const OptionSpec& option : options()) add_option(app, option, given);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them from the back
  } catch (const CLI::CallForHelp&) {
    return CommandLineExit{0, app.help()};
  } catch (const CLI::CallForVersion& version) {
    return CommandLineExit{0, std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    return usage_error(invalid(error.what()));
  }
  // Understood once now, so that a wrong command line is told whatever the file says.
  Config checked;
  if (auto applied = apply_given(given, checked); !applied) return usage_error(applied.failure());
  return given;
}

std::string default_config_file(const Environment& environment) {
  constexpr const char* kName = "/jami-connd/jami-connd.conf";
  if (const std::string xdg = environment.get("XDG_CONFIG_HOME"); xdg.starts_with('/')) return xdg + kName;
  if (const std::string home = environment.get("HOME"); home.starts_with('/')) return home + "/.config" + kName;
  return {};
}

Outcome<Config> load_config(const CommandLine& given, const Environment& environment) {
  Config config;
  const bool named = !given.config_file.empty();
  const std::string path = named ? given.config_file : default_config_file(environment);
  if (!path.empty()) {
    auto read = read_config_file(path, config);
    const bool absent = !read && read.failure().code == std::errc::no_such_file_or_directory;
    if (!read && (named || !absent)) return read.failure();
  }
  if (auto applied = apply_given(given, config); !applied) return applied.failure();
  return config;
}

Outcome<std::string> resolve_socket(const std::string& option, const Environment& environment,
                                    const std::string& users) {
  std::string path = option;
  if (path.empty()) {
    const std::string systemd = first_entry(environment.get("RUNTIME_DIRECTORY"));
    const std::string user = environment.get("XDG_RUNTIME_DIR");
    const std::string usual = users + "/" + std::to_string(environment.uid);
    if (!systemd.empty()) {
      path = systemd + "/control.sock";
    } else if (user.starts_with('/') && owner_of(user).value_or(environment.uid) == environment.uid) {
      path = user + "/jami-connd/control.sock";
    } else if (environment.uid == 0) {
      path = "/run/jami-connd/control.sock";
    } else if (owner_of(usual) == environment.uid) {
      path = usual + "/jami-connd/control.sock";
    } else {
      return failure(std::errc::no_such_file_or_directory,
                     "no place for the control socket is known; pass --socket or set XDG_RUNTIME_DIR");
    }
  }
  constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() > kMaxSocketPath) {
    return failure(std::errc::filename_too_long, path + ": a socket's path has at most " +
                                                     std::to_string(kMaxSocketPath) + " bytes; pass another --socket");
  }
  return path;
}

}  // namespace connd::daemon
