// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/settings/options.h"

#include <set>

#include <catch2/catch.hpp>

using namespace connd::daemon;

TEST_CASE("names are unique, every option has help, and every default is within its range") {
  std::set<std::string_view> names;
  for (const OptionSpec& option : options()) {
    INFO(option.name);
    CHECK(names.insert(option.name).second);
    CHECK(find_option(option.name) == &option);
    CHECK(!option.help.empty());
    CHECK(option.is_flag() == option.value.empty());
    Config config;
    if (!option.default_value.empty()) CHECK(apply_option(option, option.default_value, config));
  }
  CHECK(find_option("config") == nullptr);
  CHECK(find_option("") == nullptr);
}

TEST_CASE("numbers are held to their range, at its very ends") {
  for (const OptionSpec& option : options()) {
    const bool number = std::holds_alternative<std::uint64_t Config::*>(option.field) ||
                        std::holds_alternative<std::chrono::seconds Config::*>(option.field);
    if (!number) continue;
    INFO(option.name);
    Config config;
    CHECK(apply_option(option, std::to_string(option.min), config));
    CHECK(apply_option(option, std::to_string(option.max), config));
    CHECK(!apply_option(option, std::to_string(option.max + 1), config));
    if (option.min > 0) CHECK(!apply_option(option, std::to_string(option.min - 1), config));
    for (const char* bad : {"", "-1", "1x", " 1", "1.5", "99999999999999999999"}) {
      CHECK(!apply_option(option, bad, config));
    }
  }
}

TEST_CASE("the text of what is set sets the same again") {
  Config config;
  config.socket = "/a b";
  config.state_dir = "/s";
  for (const OptionSpec& option : options()) {
    INFO(option.name);
    const std::string text = option_text(option, config);
    if (!option.default_value.empty()) CHECK(text == option.default_value);
    Config again;
    clear_option(option, again);
    CHECK(apply_option(option, text, again));
    CHECK(option_text(option, again) == text);
    Config copy;
    copy_option(option, again, copy);
    CHECK(option_text(option, copy) == text);
  }
  config.bootstrap = {{"a", 1}, {"::1", 2}};
  CHECK(option_text(*find_option("bootstrap"), config) == "a:1, [::1]:2");
}

TEST_CASE("interfaces are named as the kernel names them") {
  Config config;
  const OptionSpec& interface = *find_option("interface");
  CHECK(interface.repeatable());
  REQUIRE(apply_option(interface, "eth0", config));
  REQUIRE(apply_option(interface, "wlp0s20f3.100", config));
  CHECK(config.interfaces == std::vector<std::string>{"eth0", "wlp0s20f3.100"});
  CHECK(option_text(interface, config) == "eth0, wlp0s20f3.100");
  for (const char* bad : {"", "a/b", "a b", "sixteen-letters-", "eth0\n"}) CHECK(!apply_option(interface, bad, config));
  clear_option(interface, config);
  CHECK(config.interfaces.empty());
  for (int i = 0; i < 64; ++i) REQUIRE(apply_option(interface, "eth" + std::to_string(i), config));
  CHECK(!apply_option(interface, "eth64", config));
}

TEST_CASE("choices, flags and texts") {
  Config config;
  const OptionSpec& policy = *find_option("ice-request");
  REQUIRE(apply_option(policy, "ask", config));
  CHECK(config.ice_request == IceRequestPolicy::kAsk);
  REQUIRE(apply_option(policy, "anyone", config));
  CHECK(config.ice_request == IceRequestPolicy::kAnyone);
  REQUIRE(apply_option(policy, "trusted", config));
  CHECK(config.ice_request == IceRequestPolicy::kTrusted);
  for (const char* bad : {"", "as", "asks", "trusted|anyone", "Ask"}) CHECK(!apply_option(policy, bad, config));
  REQUIRE(apply_option(*find_option("log-level"), "error", config));
  CHECK(config.log_level == LogLevel::kError);
  REQUIRE(apply_option(*find_option("no-lan-discovery"), "true", config));
  CHECK(config.no_lan_discovery);
  CHECK(!apply_option(*find_option("no-lan-discovery"), "yes", config));
  REQUIRE(apply_option(*find_option("socket"), "/a b", config));
  CHECK(config.socket == "/a b");
  CHECK(!apply_option(*find_option("socket"), "/a\nb", config));
  CHECK(config.socket == "/a b");
}
