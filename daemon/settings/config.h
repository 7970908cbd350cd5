// SPDX-License-Identifier: GPL-3.0-or-later
/// Config: everything that a person can set, after the command line and the configuration file were read.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/settings/policy.h"
#include "daemon/settings/reservation.h"
#include "daemon/system/environment.h"
#include "daemon/system/host_port.h"
#include "daemon/system/log_level.h"
#include "daemon/system/outcome.h"

namespace connd::daemon {

/// Each member is an option of the same name, if nothing else is said; options.cpp has defaults, ranges and meaning,
/// and a default-constructed Config has those defaults.
struct Config {
  /// What --stun calls the bootstrap nodes, with no port.
  static constexpr std::string_view kBootstrapPlace = "bootstrap";

  Config();

  std::string state_dir;  ///< empty: resolve_state_dir() finds it
  std::string socket;     ///< empty: resolve_socket() finds it
  std::vector<HostPort> bootstrap;
  std::uint64_t dht_port = 0;
  bool no_lan_discovery = false;
  std::uint64_t port = 0;               ///< TCP; 0: chosen, and remembered
  std::vector<HostPort> stun;           ///< kBootstrapPlace among them stands for the bootstrap nodes
  std::vector<std::string> interfaces;  ///< --interface; empty: all
  IceRequestPolicy ice_request{};
  std::vector<PrefixReservation> reservations;  ///< --reserve
  LogLevel log_level{};
  bool debuggable = false;

  std::uint64_t max_connections = 0;
  std::uint64_t max_channels = 0;           ///< 0: FdLimits derives it
  std::uint64_t max_channels_per_peer = 0;  ///< 0: no such bound
  std::uint64_t max_clients = 0;
  std::uint64_t max_channels_per_client = 0;
  std::uint64_t max_uncollected_fds = 0;
  std::uint64_t max_user_share = 0;         ///< percent
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
  std::chrono::seconds crash_pause{};  ///< the longest; see CrashBrake

  std::uint64_t dht_max_requests = 0;
  std::uint64_t dht_max_peer_requests = 0;
  std::uint64_t dht_max_searches = 0;
  std::uint64_t dht_max_store = 0;  ///< MiB
  std::uint64_t dht_max_store_keys = 0;
  std::uint64_t dht_max_value = 0;  ///< KiB
  bool dht_keep_nothing = false;
};

/// The program is to end at once: `text` (whole lines) goes to stdout when `code` is 0, to stderr otherwise.
struct CommandLineExit {
  int code;  ///< 0: --help, --version; 2: usage, or the configuration file
  std::string text;
};

/// What was written on the command line, before any of it is understood.
struct CommandLine {
  std::string config_file;  ///< empty: not given
  std::map<std::string_view, std::vector<std::string>> values;
  std::map<std::string_view, bool> flags;
};

/// Reads the arguments (without the program's name). No file is read.
std::variant<CommandLine, CommandLineExit> parse_command_line(const std::vector<std::string>& arguments);

/// What the configuration file says, and over it the command line: an option given there replaces what the file says of
/// it, also when it can be repeated. The file is the one that --config names, else default_config_file(), if there is
/// one. At start, and again at each reload; blocks for the file system and for names of users. Failure: one line.
Outcome<Config> load_config(const CommandLine& given, const Environment& environment);
/// A configuration that cannot be used, at start.
CommandLineExit usage_error(const Failure& failure);

/// jami-connd/jami-connd.conf in $XDG_CONFIG_HOME, else in ~/.config; empty when neither is known.
std::string default_config_file(const Environment& environment);

/// Reads `key = value` lines into `config`: the options' names without the dashes, one a line; a line that starts with
/// # is a comment; flags take true or false; an option that can be repeated is, and replaces what `config` had.
/// Failure: "FILE:LINE: what is wrong"; `config` is then half changed.
Outcome<void> read_config_file(const std::string& path, Config& config);

/// Where the control socket is: `option` (--socket), else control.sock in the first entry of $RUNTIME_DIRECTORY
/// (systemd.exec), else in $XDG_RUNTIME_DIR/jami-connd, else, for root, in /run/jami-connd, else in
/// `users`/UID/jami-connd, if that is this user's. An XDG_RUNTIME_DIR that is another user's (su, sudo) is passed over.
/// Failures: none of them is known; longer than a socket's path can be (sockaddr_un: 107 bytes).
Outcome<std::string> resolve_socket(const std::string& option, const Environment& environment,
                                    const std::string& users = "/run/user");

}  // namespace connd::daemon
