// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/options.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <optional>

namespace connd::daemon {
namespace {

// OpenDHT's own, which everyone's nodes use.
constexpr std::uint16_t kDhtDefaultPort = 4222;
// "No bootstrap at all": the LAN alone.
constexpr std::string_view kNoBootstrap = "none";
constexpr std::uint64_t kDaySeconds = 86'400;
constexpr std::uint64_t kMillion = 1'000'000;

const std::array kOptions = {
    OptionSpec{"state-dir", "DIR", "", 0, 0, &Config::state_dir,
               "what must be remembered: identity, trust (default: $STATE_DIRECTORY, $XDG_STATE_HOME/jami-connd)"},
    OptionSpec{"socket", "PATH", "", 0, 0, &Config::socket,
               "control socket (default: control.sock in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/jami-connd)"},
    OptionSpec{"bootstrap", "HOST:PORT", "bootstrap.jami.net:4222", 0, 0, &Config::bootstrap,
               "a node of the DHT to start from; may be repeated; 'none': the LAN alone"},
    OptionSpec{"dht-port", "N", "0", 0, 65'535, &Config::dht_port, "UDP port of our DHT node; 0: any free one"},
    OptionSpec{"no-lan-discovery", "", "false", 0, 0, &Config::no_lan_discovery,
               "do not look for, nor announce, DHT nodes on the LAN"},
    OptionSpec{"ice-request", "trusted|anyone|ask", "trusted", 0, 0, &Config::ice_request,
               "who may connect: those that are allowed, anyone not banned, or whom a local client accepts"},
    OptionSpec{"log-level", "trace|debug|info|warn|error", "info", 0, 0, &Config::log_level,
               "least level that is logged"},

    OptionSpec{"max-connections", "N", "1024", 1, 65'535, &Config::max_connections, "connections to peers at once"},
    OptionSpec{"max-channels", "N", "0", 0, kMillion, &Config::max_channels,
               "channels at once, all peers; 0: as many as the limit of open files allows"},
    OptionSpec{"max-clients", "N", "256", 1, 65'535, &Config::max_clients, "local clients at once"},
    OptionSpec{"max-channels-per-client", "N", "65536", 1, kMillion, &Config::max_channels_per_client,
               "channels of one local client at once"},
    // An in-flight fd counts against its user (about RLIMIT_NOFILE of them for all its sockets): one client gets few.
    OptionSpec{"max-uncollected-fds", "N", "64", 1, 250, &Config::max_uncollected_fds,
               "fds sent to one local client that it has not received yet; more wait"},
    OptionSpec{"max-connection-buffer", "MIB", "64", 1, 2'047, &Config::max_connection_buffer,
               "bytes that one connection may hold for slow apps"},
    OptionSpec{"max-setups", "N", "32", 1, 1'024, &Config::max_setups, "connections being set up for peers at once"},
    OptionSpec{"max-unknown-setups", "N", "4", 1, 1'024, &Config::max_unknown_setups, "of these, for unknown peers"},
    OptionSpec{"max-unknown-lookups", "N", "2", 1, 64, &Config::max_unknown_lookups,
               "certificates of unknown signers being looked up at once"},
    OptionSpec{"unknown-lookups-per-minute", "N", "30", 1, 6'000, &Config::unknown_lookups_per_minute,
               "such lookups in a minute"},

    OptionSpec{"idle-timeout", "SECONDS", "300", 1, 30 * kDaySeconds, &Config::idle_timeout,
               "a connection without channels is closed after this"},
    OptionSpec{"keepalive", "SECONDS", "30", 1, kDaySeconds, &Config::keepalive,
               "a silent connection is probed after this"},
    OptionSpec{"open-timeout", "SECONDS", "30", 1, kDaySeconds, &Config::open_timeout,
               "an open fails after this, unless it says otherwise"},
    OptionSpec{"accept-timeout", "SECONDS", "30", 1, kDaySeconds, &Config::accept_timeout,
               "a listener that was asked has this long to accept a channel"},
    OptionSpec{"policy-timeout", "SECONDS", "10", 1, kDaySeconds, &Config::policy_timeout,
               "a client that was asked has this long to accept a connection"},

    // 0 would mean "the default" to OpenDHT, hence the range.
    OptionSpec{"dht-max-requests", "N", "1600", 1, kMillion, &Config::dht_max_requests,
               "DHT requests answered in a second"},
    OptionSpec{"dht-max-peer-requests", "N", "200", 1, kMillion, &Config::dht_max_peer_requests,
               "of these, from one address"},
    OptionSpec{"dht-max-searches", "N", "4096", 16, kMillion, &Config::dht_max_searches, "DHT searches at once"},
    OptionSpec{"dht-max-store", "MIB", "16", 1, 2'047, &Config::dht_max_store, "values kept for others on the DHT"},
    OptionSpec{"dht-max-store-keys", "N", "16384", 16, kMillion, &Config::dht_max_store_keys,
               "keys under which they are kept"},
};

Failure wrong(std::string text) {
  return failure(std::errc::invalid_argument, std::move(text));
}

Outcome<std::uint64_t> number_from(const OptionSpec& option, std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < option.min || value > option.max) {
    return wrong("'" + std::string(text) + "' is not a whole number from " + std::to_string(option.min) + " to " +
                 std::to_string(option.max));
  }
  return value;
}

Outcome<std::uint8_t> choice_from(std::string_view choices, std::string_view text) {
  std::uint8_t index = 0;
  for (std::string_view rest = choices;; ++index) {
    const std::size_t bar = rest.find('|');
    if (rest.substr(0, bar) == text) return index;
    if (bar == std::string_view::npos) break;
    rest.remove_prefix(bar + 1);
  }
  return wrong("'" + std::string(text) + "' is not one of " + std::string(choices));
}

struct Setter {
  const OptionSpec& option;
  std::string_view text;
  Config& config;

  Outcome<void> operator()(std::string Config::*field) const {
    config.*field = text;
    return {};
  }
  Outcome<void> operator()(std::uint64_t Config::*field) const {
    const auto value = number_from(option, text);
    if (!value) return value.failure();
    config.*field = *value;
    return {};
  }
  Outcome<void> operator()(std::chrono::seconds Config::*field) const {
    const auto value = number_from(option, text);
    if (!value) return value.failure();
    config.*field = std::chrono::seconds(*value);
    return {};
  }
  Outcome<void> operator()(bool Config::*field) const {
    if (text != "true" && text != "false") return wrong("'" + std::string(text) + "' is not true or false");
    config.*field = text == "true";
    return {};
  }
  Outcome<void> operator()(std::vector<HostPort> Config::*field) const {
    if (text == kNoBootstrap) return {};  // the list was cleared before its first value
    auto value = HostPort::parse(text, kDhtDefaultPort);
    if (!value) return value.failure();
    (config.*field).push_back(*std::move(value));
    return {};
  }
  template <class Enum>
  Outcome<void> operator()(Enum Config::*field) const {
    const auto value = choice_from(option.value, text);
    if (!value) return value.failure();
    config.*field = static_cast<Enum>(*value);
    return {};
  }
};

}  // namespace

std::span<const OptionSpec> options() {
  return kOptions;
}

const OptionSpec* find_option(std::string_view name) {
  const auto at =
      std::find_if(kOptions.begin(), kOptions.end(), [name](const OptionSpec& option) { return option.name == name; });
  return at != kOptions.end() ? &*at : nullptr;
}

Outcome<void> apply_option(const OptionSpec& option, std::string_view text, Config& config) {
  if (text.empty()) return wrong("a value is needed");
  // Values end up in paths and log lines; nothing that we read has a use for control characters.
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return wrong("a control character in the value");
  }
  return std::visit(Setter{option, text, config}, option.field);
}

void clear_option(const OptionSpec& option, Config& config) {
  if (const auto* field = std::get_if<std::vector<HostPort> Config::*>(&option.field)) (config.**field).clear();
}

Config::Config() {
  for (const OptionSpec& option : kOptions) {
    if (option.default_value.empty()) continue;
    const auto applied = apply_option(option, option.default_value, *this);
    assert(applied.ok());
    (void)applied;
  }
}

}  // namespace connd::daemon
