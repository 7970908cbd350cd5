// SPDX-License-Identifier: GPL-3.0-or-later
/// The one table of the daemon's options, from which the command line, --help, the configuration file and the manual
/// page come.
#pragma once

#include <span>
#include <string_view>
#include <variant>

#include "daemon/settings/config.h"
#include "daemon/system/outcome.h"

namespace connd::daemon {

struct OptionSpec {
  /// The member that it sets; its type says how the text is read.
  using Field = std::variant<std::string Config::*, std::uint64_t Config::*, std::chrono::seconds Config::*,
                             bool Config::*, std::vector<HostPort> Config::*, std::vector<PrefixReservation> Config::*,
                             std::vector<std::string> Config::*, IceRequestPolicy Config::*, LogLevel Config::*>;
  /// When a change in the configuration file takes effect.
  enum class When : std::uint8_t {
    kNow,      ///< at reload, for what comes from then on
    kRestart,  ///< at the next start
  };
  std::string_view name;           ///< without dashes
  std::string_view value;          ///< what the value is called in --help; the choices, as a|b|c; empty for a flag
  std::string_view default_value;  ///< as it would be written
  std::uint64_t min;               ///< of a number
  std::uint64_t max;
  Field field;
  When when;
  std::string_view help;  ///< one clause, no full stop

  [[nodiscard]] bool is_flag() const { return std::holds_alternative<bool Config::*>(field); }
  [[nodiscard]] bool repeatable() const {
    return std::holds_alternative<std::vector<HostPort> Config::*>(field) ||
           std::holds_alternative<std::vector<PrefixReservation> Config::*>(field) ||
           std::holds_alternative<std::vector<std::string> Config::*>(field);
  }
};

/// In the order of --help.
std::span<const OptionSpec> options();
/// nullptr when there is none of that name.
const OptionSpec* find_option(std::string_view name);

/// Sets the option from text; one that can be repeated gets one more value, the others are replaced. Failure: what is
/// wrong with the text, without the option's name; `config` is unchanged then.
Outcome<void> apply_option(const OptionSpec& option, std::string_view text, Config& config);
/// Back to "not set at all": forgets the values of an option that can be repeated.
void clear_option(const OptionSpec& option, Config& config);

/// What it is set to, as it would be written; lists with commas. Two that are the same have the same text.
std::string option_text(const OptionSpec& option, const Config& config);
void copy_option(const OptionSpec& option, const Config& from, Config& to);

}  // namespace connd::daemon
