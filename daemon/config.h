// SPDX-License-Identifier: GPL-3.0-or-later
/// Config: everything that a person can set, after the command line and the configuration file were read.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "daemon/environment.h"
#include "daemon/host_port.h"
#include "daemon/outcome.h"
#include "daemon/policy.h"

namespace connd::daemon {

/// Who may bring up a connection to us (SPEC section 4, the ICE-request policy).
enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarn, kError };

/// Each member is an option of the same name; options.cpp has defaults, ranges and meaning, and a default-constructed
/// Config has those defaults.
struct Config {
  Config();

  std::string state_dir;  ///< empty: resolve_state_dir() finds it
  std::string socket;     ///< empty: resolve_socket() finds it
  std::vector<HostPort> bootstrap;
  std::uint64_t dht_port = 0;
  bool no_lan_discovery = false;
  IceRequestPolicy ice_request{};
  LogLevel log_level{};

  std::uint64_t max_connections = 0;
  std::uint64_t max_channels = 0;  ///< 0: FdLimits derives it
  std::uint64_t max_clients = 0;
  std::uint64_t max_channels_per_client = 0;
  std::uint64_t max_uncollected_fds = 0;
  std::uint64_t max_connection_buffer = 0;  ///< MiB
  std::uint64_t max_setups = 0;
  std::uint64_t max_unknown_setups = 0;
  std::uint64_t max_unknown_lookups = 0;
  std::uint64_t unknown_lookups_per_minute = 0;

  std::chrono::seconds idle_timeout{};
  std::chrono::seconds keepalive{};
  std::chrono::seconds open_timeout{};
  std::chrono::seconds accept_timeout{};
  std::chrono::seconds policy_timeout{};

  std::uint64_t dht_max_requests = 0;
  std::uint64_t dht_max_peer_requests = 0;
  std::uint64_t dht_max_searches = 0;
  std::uint64_t dht_max_store = 0;  ///< MiB
  std::uint64_t dht_max_store_keys = 0;
};

/// The program is to end at once: `text` (whole lines) goes to stdout when `code` is 0, to stderr otherwise.
struct CommandLineExit {
  int code;  ///< 0: --help, --version; 2: usage, or the configuration file
  std::string text;
};

/// Reads the arguments (without the program's name) and the file that --config names. An option given on the command
/// line replaces what the file says of it, also when it can be repeated. Start-up and reload only: it reads a file.
std::variant<Config, CommandLineExit> parse_command_line(const std::vector<std::string>& arguments);

/// Reads `key = value` lines into `config`: the options' names without the dashes, one a line; a line that starts with
/// # is a comment; flags take true or false; an option that can be repeated is, and replaces what `config` had.
/// Failure: "FILE:LINE: what is wrong"; `config` is then half changed.
Outcome<void> read_config_file(const std::string& path, Config& config);

/// Where the control socket is: `option` (--socket), else control.sock in the first entry of $RUNTIME_DIRECTORY
/// (systemd.exec), else in $XDG_RUNTIME_DIR/jami-connd, else, for root, in /run/jami-connd. Failures: none of them is
/// known; longer than a socket's path can be (sockaddr_un: 107 bytes).
Outcome<std::string> resolve_socket(const std::string& option, const Environment& environment);

}  // namespace connd::daemon
