// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/settings/options.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <optional>

#include <net/if.h>

namespace connd::daemon {
namespace {

// OpenDHT's own, which everyone's nodes use.
constexpr std::uint16_t kDhtDefaultPort = 4222;
// RFC 8489, 18.6.
constexpr std::uint16_t kStunDefaultPort = 3478;
// An empty list. Of --bootstrap: the LAN alone.
constexpr std::string_view kNone = "none";
constexpr std::uint64_t kDaySeconds = 86'400;
constexpr std::uint64_t kMillion = 1'000'000;
// As many as there is any use for; each is compared with each address.
constexpr std::size_t kMaxInterfaces = 64;
// Each is looked at for each channel that a peer asks for; a machine has a few services of this kind.
constexpr std::size_t kMaxReservations = 256;

using enum OptionSpec::When;

const std::array kOptions = {
    OptionSpec{"state-dir", "DIR", "", 0, 0, &Config::state_dir, kRestart,
               "what must be remembered: identity, trust (default: $STATE_DIRECTORY, $XDG_STATE_HOME/jami-connd)"},
    OptionSpec{"socket", "PATH", "", 0, 0, &Config::socket, kRestart,
               "control socket (default: control.sock in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/jami-connd)"},
    OptionSpec{"bootstrap", "HOST:PORT", "bootstrap.jami.net:4222", 0, 0, &Config::bootstrap, kRestart,
               "a node of the DHT to start from; may be repeated; 'none': the LAN alone"},
    OptionSpec{"dht-port", "N", "0", 0, 65'535, &Config::dht_port, kRestart,
               "UDP port of our DHT node; 0: one of its own, or any if that is taken"},
    OptionSpec{"no-lan-discovery", "", "false", 0, 0, &Config::no_lan_discovery, kRestart,
               "do not look for, nor announce, DHT nodes on the LAN"},
    OptionSpec{
        "port", "N", "0", 0, 65'535, &Config::port, kRestart,
        "TCP port of this daemon, for peers and for firewalls; 0: the number of --dht-port, or one that is chosen "
        "once"},
    OptionSpec{"stun", "HOST:PORT", "bootstrap", 0, 0, &Config::stun, kRestart,
               "who tells this daemon its public address, by STUN over TCP; may be repeated; 'bootstrap': a jami-connd "
               "at the bootstrap nodes' port; 'none': nobody"},
    OptionSpec{"interface", "NAME", "", 0, 0, &Config::interfaces, kRestart,
               "connect to peers by this network interface alone, and tell them of no other's addresses; may be "
               "repeated (default: by all but bridges of this machine's own guests)"},
    OptionSpec{"ice-request", "trusted|anyone|ask", "trusted", 0, 0, &Config::ice_request, kNow,
               "who may connect: those that are allowed, anyone not banned, or whom a local client accepts "
               "(jami-connctl requests)"},
    OptionSpec{"reserve", "WHO PREFIX", "", 0, 0, &Config::reservations, kNow,
               "only WHO, user:NAME or group:NAME, may listen for names that begin with PREFIX; may be repeated"},
    OptionSpec{"log-level", "trace|debug|info|warn|error", "info", 0, 0, &Config::log_level, kNow,
               "least level that is logged"},
    OptionSpec{"debuggable", "", "false", 0, 0, &Config::debuggable, kRestart,
               "for developers: debuggers may attach, and a crash leaves a core file; private keys are in both"},

    OptionSpec{"max-connections", "N", "1024", 1, 65'535, &Config::max_connections, kNow,
               "connections to peers at once"},
    OptionSpec{"max-channels", "N", "0", 0, kMillion, &Config::max_channels, kRestart,
               "channels at once, all peers; 0: as many as the limit of open files allows"},
    OptionSpec{"max-channels-per-peer", "N", "0", 0, kMillion, &Config::max_channels_per_peer, kNow,
               "channels with one peer, beyond which its requests are refused; 0: it may take all there are"},
    OptionSpec{"max-clients", "N", "256", 1, 65'535, &Config::max_clients, kNow, "local clients at once"},
    OptionSpec{"max-channels-per-client", "N", "65536", 1, kMillion, &Config::max_channels_per_client, kNow,
               "channels of one local client at once"},
    // An in-flight fd counts against its user (about RLIMIT_NOFILE of them for all its sockets): one client gets few.
    OptionSpec{"max-uncollected-fds", "N", "64", 1, 250, &Config::max_uncollected_fds, kNow,
               "fds sent to one local client that it has not received yet; more wait"},
    OptionSpec{"max-user-share", "PERCENT", "75", 1, 100, &Config::max_user_share, kNow,
               "of local clients, channels, opens and listeners, what one user of the system's service may have"},
    OptionSpec{"max-connection-buffer", "MIB", "64", 1, 2'047, &Config::max_connection_buffer, kRestart,
               "bytes that one connection may hold for slow apps"},
    OptionSpec{"max-setups", "N", "32", 1, 1'024, &Config::max_setups, kNow,
               "connections being set up for peers at once"},
    OptionSpec{"max-unknown-setups", "N", "4", 1, 1'024, &Config::max_unknown_setups, kNow,
               "of these, for unknown peers"},
    OptionSpec{"max-unknown-lookups", "N", "2", 1, 64, &Config::max_unknown_lookups, kNow,
               "certificates of unknown signers being looked up at once"},
    OptionSpec{"unknown-lookups-per-minute", "N", "30", 1, 6'000, &Config::unknown_lookups_per_minute, kNow,
               "such lookups in a minute"},

    OptionSpec{"idle-timeout", "SECONDS", "300", 1, 30 * kDaySeconds, &Config::idle_timeout, kNow,
               "a connection without channels is closed after this"},
    OptionSpec{"keepalive", "SECONDS", "30", 1, kDaySeconds, &Config::keepalive, kRestart,
               "a silent connection is probed after this"},
    OptionSpec{"open-timeout", "SECONDS", "30", 1, kDaySeconds, &Config::open_timeout, kNow,
               "an open fails after this, unless it says otherwise"},
    OptionSpec{"accept-timeout", "SECONDS", "30", 1, kDaySeconds, &Config::accept_timeout, kNow,
               "a listener that was asked has this long to accept a channel"},
    OptionSpec{"policy-timeout", "SECONDS", "10", 1, kDaySeconds, &Config::policy_timeout, kNow,
               "a client that was asked has this long to accept a connection"},
    OptionSpec{"crash-pause", "SECONDS", "60", 0, 3'600, &Config::crash_pause, kRestart,
               "longest that the network waits after crash upon crash; 0: it never does"},

    // 0 would mean "the default" to OpenDHT, hence the range.
    OptionSpec{"dht-max-requests", "N", "1600", 1, kMillion, &Config::dht_max_requests, kRestart,
               "DHT requests answered in a second"},
    OptionSpec{"dht-max-peer-requests", "N", "200", 1, kMillion, &Config::dht_max_peer_requests, kRestart,
               "of these, from one address"},
    OptionSpec{"dht-max-searches", "N", "4096", 16, kMillion, &Config::dht_max_searches, kRestart,
               "DHT searches at once"},
    OptionSpec{"dht-max-store", "MIB", "16", 1, 2'047, &Config::dht_max_store, kRestart,
               "values kept for others on the DHT"},
    // A chain of three certificates of RSA 4096 is 6 kB, and a request that carries it below 9. OpenDHT's own bound
    // is 64.
    OptionSpec{"dht-max-value", "KIB", "16", 4, 64, &Config::dht_max_value, kRestart,
               "the longest value that is kept for others"},
    OptionSpec{"dht-max-store-keys", "N", "16384", 16, kMillion, &Config::dht_max_store_keys, kRestart,
               "keys under which they are kept"},
    OptionSpec{"dht-keep-nothing", "", "false", 0, 0, &Config::dht_keep_nothing, kRestart,
               "keep no values for others, but those from private addresses"},
};

Outcome<std::uint64_t> number_from(const OptionSpec& option, std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < option.min || value > option.max) {
    return invalid("'" + std::string(text) + "' is not a whole number from " + std::to_string(option.min) + " to " +
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
  return invalid("'" + std::string(text) + "' is not one of " + std::string(choices));
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
    if (text != "true" && text != "false") return invalid("'" + std::string(text) + "' is not true or false");
    config.*field = text == "true";
    return {};
  }
  Outcome<void> operator()(std::vector<HostPort> Config::*field) const {
    if (text == kNone) return {};  // the list was cleared before its first value
    const bool stun = field == &Config::stun;
    if (stun && text == Config::kBootstrapPlace) {
      (config.*field).push_back({std::string(text), 0});
      return {};
    }
    auto value = HostPort::parse(text, stun ? kStunDefaultPort : kDhtDefaultPort);
    if (!value) return value.failure();
    (config.*field).push_back(*std::move(value));
    return {};
  }
  Outcome<void> operator()(std::vector<PrefixReservation> Config::*field) const {
    if (text == kNone) return {};
    if ((config.*field).size() >= kMaxReservations) {
      return invalid("more than " + std::to_string(kMaxReservations) + " of them");
    }
    auto value = PrefixReservation::parse(text);
    if (!value) return value.failure();
    (config.*field).push_back(*std::move(value));
    return {};
  }
  Outcome<void> operator()(std::vector<std::string> Config::*field) const {
    if (text == kNone) return {};
    // IFNAMSIZ, with its NUL; the kernel takes no slash and no space.
    if (text.size() >= IFNAMSIZ || text.find_first_of("/ ") != std::string_view::npos) {
      return invalid("'" + std::string(text) + "' cannot be the name of a network interface");
    }
    if ((config.*field).size() >= kMaxInterfaces) return invalid("more than " + std::to_string(kMaxInterfaces));
    (config.*field).emplace_back(text);
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

/// The text of a member.
struct Getter {
  const OptionSpec& option;
  const Config& config;

  std::string operator()(std::string Config::*field) const { return config.*field; }
  std::string operator()(std::uint64_t Config::*field) const { return std::to_string(config.*field); }
  std::string operator()(std::chrono::seconds Config::*field) const { return std::to_string((config.*field).count()); }
  std::string operator()(bool Config::*field) const { return config.*field ? "true" : "false"; }
  std::string operator()(std::vector<std::string> Config::*field) const {
    std::string text;
    for (const std::string& item : config.*field) text += (text.empty() ? "" : ", ") + item;
    return text.empty() ? std::string(kNone) : text;
  }
  template <class Item>
  std::string operator()(std::vector<Item> Config::*field) const {
    std::string text;
    for (const Item& item : config.*field) text += (text.empty() ? "" : ", ") + item.text();
    return text.empty() ? std::string(kNone) : text;
  }
  template <class Enum>
  std::string operator()(Enum Config::*field) const {
    std::string_view rest = option.value;
    for (auto left = static_cast<std::size_t>(config.*field); left > 0; --left) rest.remove_prefix(rest.find('|') + 1);
    return std::string(rest.substr(0, rest.find('|')));
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
  if (text.empty()) return invalid("a value is needed");
  // Values end up in paths and log lines; nothing that we read has a use for control characters.
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return invalid("a control character in the value");
  }
  return std::visit(Setter{option, text, config}, option.field);
}

void clear_option(const OptionSpec& option, Config& config) {
  if (const auto* field = std::get_if<std::vector<HostPort> Config::*>(&option.field)) (config.**field).clear();
  if (const auto* field = std::get_if<std::vector<PrefixReservation> Config::*>(&option.field)) {
    (config.**field).clear();
  }
  if (const auto* field = std::get_if<std::vector<std::string> Config::*>(&option.field)) (config.**field).clear();
}

std::string option_text(const OptionSpec& option, const Config& config) {
  return std::visit(Getter{option, config}, option.field);
}

void copy_option(const OptionSpec& option, const Config& from, Config& to) {
  std::visit([&](auto field) { to.*field = from.*field; }, option.field);
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
