// SPDX-License-Identifier: GPL-3.0-or-later
/// Prints the command line's grammar as JSON, for the manual page and the shells' completions. Built, never installed.
#include <iostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/ctl_grammar.h"

namespace {

using Json = nlohmann::ordered_json;

Json dump(const CLI::Option& option) {
  Json names = Json::array();
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  // What stands behind the first colon comes of checks, which the help's own words tell better.
  const std::string type = option.get_expected_max() == 0 ? "" : option.get_type_name();
  return {{"names", names},
          {"value", type.substr(0, type.find(':'))},
          {"help", option.get_description()},
          {"required", option.get_required()},
          {"repeat", option.get_items_expected_max() > 1}};
}

Json dump(const CLI::App& app) {
  Json out = {{"name", app.get_name()},   {"help", app.get_description()}, {"footer", app.get_footer()},
              {"options", Json::array()}, {"arguments", Json::array()},    {"verbs", Json::array()}};
  for (const CLI::Option* option : app.get_options()) {
    out[option->get_positional() ? "arguments" : "options"].push_back(dump(*option));
  }
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    out["verbs"].push_back(dump(*verb));
  }
  return out;
}

}  // namespace

int main() {
  connd::tools::Context context;
  CLI::App app(connd::tools::kSummary, connd::tools::kProgram);
  connd::tools::add_grammar(app, context);
  std::cout << dump(app).dump(2) << "\n" << std::flush;
  return std::cout ? 0 : 1;
}
