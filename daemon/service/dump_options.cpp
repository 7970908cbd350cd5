// SPDX-License-Identifier: GPL-3.0-or-later
/// Prints the table of options as JSON, for the manual pages and the sample configuration. Built, never installed.
#include <iostream>

#include <nlohmann/json.hpp>

#include "daemon/settings/options.h"

namespace {

using namespace connd::daemon;

bool is_number(const OptionSpec& option) {
  return std::holds_alternative<std::uint64_t Config::*>(option.field) ||
         std::holds_alternative<std::chrono::seconds Config::*>(option.field);
}

nlohmann::ordered_json dump(const OptionSpec& option) {
  nlohmann::ordered_json out = {{"name", option.name},
                                {"value", option.value},
                                {"default", option.default_value},
                                {"help", option.help},
                                {"repeatable", option.repeatable()},
                                {"reload", option.when == OptionSpec::When::kNow}};
  if (is_number(option)) {
    out["min"] = option.min;
    out["max"] = option.max;
  }
  return out;
}

}  // namespace

int main() {
  nlohmann::ordered_json out = {{"version", CONND_VERSION}, {"options", nlohmann::ordered_json::array()}};
  for (const OptionSpec& option : options()) out["options"].push_back(dump(option));
  std::cout << out.dump(2) << "\n" << std::flush;
  return std::cout ? 0 : 1;
}
