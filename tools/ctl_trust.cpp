// SPDX-License-Identifier: GPL-3.0-or-later
/// The verbs trust and alias.
#include <algorithm>
#include <array>

#include <CLI/CLI.hpp>

#include "tools/ctl_context.h"
#include "tools/output.h"

namespace connd::tools {
namespace {

using ipc::Json;

struct TrustArguments {
  std::string id;
  std::string kind;
  std::vector<std::string> scope;
  bool exact = false;
  std::string name;
  std::string device;
};

/// As the verb listen reads its name: a final * stands for any ending.
Json scope_json(const std::string& uri, bool exact) {
  const bool prefix = !exact && uri.ends_with('*');
  return {{"uri", prefix ? uri.substr(0, uri.size() - 1) : uri}, {"prefix", prefix}};
}

std::string scope_text(const ipc::TrustEntry& entry) {
  if (!entry.scope) return entry.trust == ipc::Trust::kAllowed ? "all" : "-";
  std::string out;
  for (const auto& uri : *entry.scope) out += (out.empty() ? "" : " ") + printable(uri.uri) + (uri.prefix ? "*" : "");
  return out;
}

/// A ban of 40 digits means the key of that id, whichever kind it is stored as.
std::string kind_text(const ipc::TrustEntry& entry) {
  const bool any = entry.trust == ipc::Trust::kBanned && entry.kind != ipc::TrustKind::kDevice;
  return any ? "any" : std::string(ipc::enum_name(entry.kind));
}

/// What an entry of this kind means, where the kind alone does not say it.
std::string meaning(const ipc::TrustEntry& entry) {
  if (entry.trust == ipc::Trust::kUnknown || entry.kind == ipc::TrustKind::kDevice) return {};
  if (entry.trust == ipc::Trust::kBanned) {
    return "this means whatever has that id, be it a device, an account or a CA, and all below it";
  }
  return entry.kind == ipc::TrustKind::kAccount ? "this means all devices of that account"
                                                : "this means all devices below that CA";
}

/// The entry on stdout, for scripts too; what it means on stderr.
void print_changed(const Context& context, const ipc::TrustEntry& entry) {
  std::printf("%s %s %s%s\n", std::string(ipc::enum_name(entry.trust)).c_str(), kind_text(entry).c_str(),
              printable(entry.id).c_str(), entry.alias ? (" (" + printable(*entry.alias) + ")").c_str() : "");
  if (const std::string text = meaning(entry); !text.empty()) context.say(text);
  if (entry.scope) context.say("it may open " + scope_text(entry) + ", and nothing else");
  if (!entry.devices) return;
  for (const std::string& device : *entry.devices) context.say("that includes the device " + printable(device));
}

int run_trust(const Context& context, const char* method, const TrustArguments& arguments) {
  Json params = {{"id", arguments.id}};
  if (!arguments.kind.empty()) params["kind"] = arguments.kind;
  for (const std::string& uri : arguments.scope) params["scope"].push_back(scope_json(uri, arguments.exact));
  int exit_code = 0;
  const auto reply = context.call(method, std::move(params), exit_code);
  if (!reply) return exit_code;
  const auto entry = ipc::read_result<ipc::TrustEntry>(*reply);
  if (!entry) return context.fail(entry.error());
  if (context.json) {
    print_json(*reply);
  } else {
    print_changed(context, *entry);
  }
  return 0;
}

int run_trust_list(const Context& context) {
  int exit_code = 0;
  const auto reply = context.list("trust.list", "entries", exit_code);
  if (!reply) return exit_code;
  const auto list = ipc::read_result<ipc::TrustListResult>(*reply);
  if (!list) return context.fail(list.error());
  if (context.json) {
    for (const Json& entry : (*reply)["entries"]) print_json(entry);
    return 0;
  }
  const auto scoped = [](const ipc::TrustEntry& entry) { return entry.scope.has_value(); };
  const bool scopes = std::any_of(list->entries.begin(), list->entries.end(), scoped);
  std::vector<std::vector<std::string>> rows;
  for (const auto& entry : list->entries) {
    rows.push_back({std::string(ipc::enum_name(entry.trust)), kind_text(entry), printable(entry.id),
                    printable(entry.alias.value_or("-"))});
    if (scopes) rows.back().push_back(scope_text(entry));
  }
  std::vector<std::string> head = {"TRUST", "KIND", "ID", "ALIAS"};
  if (scopes) head.emplace_back("SCOPE");
  print_table(head, rows);
  return 0;
}

int run_alias_set(const Context& context, const TrustArguments& arguments) {
  if (arguments.device.size() == 40) {
    return context.fail(
        "an alias names one device (64 hex digits); " + arguments.device + " is an account's id, or a CA's",
        kExitUsage);
  }
  int exit_code = 0;
  const Json alias = {{"name", arguments.name}, {"device", arguments.device}};
  if (!context.call("alias.set", alias, exit_code)) return exit_code;
  if (context.json) print_json(alias);
  return 0;
}

int run_alias_remove(const Context& context, const TrustArguments& arguments) {
  int exit_code = 0;
  const Json alias = {{"name", arguments.name}};
  if (!context.call("alias.remove", alias, exit_code)) return exit_code;
  if (context.json) print_json(alias);
  return 0;
}

int run_alias_list(const Context& context) {
  int exit_code = 0;
  const auto reply = context.list("alias.list", "aliases", exit_code);
  if (!reply) return exit_code;
  const auto list = ipc::read_result<ipc::AliasListResult>(*reply);
  if (!list) return context.fail(list.error());
  if (context.json) {
    for (const Json& alias : (*reply)["aliases"]) print_json(alias);
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& alias : list->aliases) rows.push_back({printable(alias.name), printable(alias.device)});
  print_table({"NAME", "DEVICE"}, rows);
  return 0;
}

struct TrustVerb {
  const char* name;
  const char* method;
  const char* text;
};
constexpr std::array<TrustVerb, 3> kTrustVerbs = {{
    {"allow", "trust.allow", "trust a device, account or CA: its devices may connect and open channels"},
    {"ban", "trust.ban", "refuse whatever has this id, and all below it; its connections close now"},
    {"unset", "trust.unset", "make it unknown again"},
}};

void add_trust(CLI::App& app, Context& context, const std::shared_ptr<TrustArguments>& arguments) {
  auto* trust = app.add_subcommand("trust", "say which devices, accounts and CAs are trusted")->require_subcommand(1);
  trust->fallthrough();
  trust->footer("Example: jami-connctl trust list");
  for (const TrustVerb& verb : kTrustVerbs) {
    auto* sub = trust->add_subcommand(verb.name, verb.text);
    sub->footer(std::string("Example: jami-connctl trust ") + verb.name + " bob");
    sub->add_option("id", arguments->id, "64 hex digits: a device; 40: an account or CA; or an alias")
        ->required()
        ->type_name("ID")
        ->transform(plain_id);
    sub->add_option("--kind", arguments->kind, "what the id is: needed for a CA only")
        ->check(CLI::IsMember({"device", "account", "ca"}))
        ->type_name("device|account|ca");
    if (std::string_view(verb.name) == "allow") {
      sub->add_option("--scope", arguments->scope,
                      "for channels of this name alone; a final * stands for any ending; may be given again")
          ->type_name("URI|PREFIX*");
      sub->add_flag("--exact", arguments->exact, "take a final * of --scope as it stands");
    }
    sub->callback([&context, arguments, method = verb.method] {
      context.run = [&context, arguments, method] { return run_trust(context, method, *arguments); };
    });
  }
  auto* list = trust->add_subcommand("list", "list what is allowed or banned");
  list->footer("Example: jami-connctl trust list --json");
  list->callback([&context] { context.run = [&context] { return run_trust_list(context); }; });
}

void add_alias(CLI::App& app, Context& context, const std::shared_ptr<TrustArguments>& arguments) {
  auto* alias = app.add_subcommand("alias", "give devices names, to be used as PEER")->require_subcommand(1);
  alias->fallthrough();
  alias->footer("Example: jami-connctl alias list");
  auto* set = alias->add_subcommand("set", "name a device");
  set->footer("Example: jami-connctl alias set bob 0123…cdef");
  set->add_option("name", arguments->name, "a letter or '_', then letters, digits, any of ._-@")
      ->required()
      ->type_name("NAME");
  set->add_option("device", arguments->device, "64 hex digits")->required()->type_name("DEVICE")->transform(plain_id);
  set->callback(
      [&context, arguments] { context.run = [&context, arguments] { return run_alias_set(context, *arguments); }; });
  auto* remove = alias->add_subcommand("remove", "forget a name");
  remove->footer("Example: jami-connctl alias remove bob");
  remove->add_option("name", arguments->name, "the name")->required()->type_name("NAME");
  remove->callback(
      [&context, arguments] { context.run = [&context, arguments] { return run_alias_remove(context, *arguments); }; });
  auto* list = alias->add_subcommand("list", "list the names");
  list->footer("Example: jami-connctl alias list");
  list->callback([&context] { context.run = [&context] { return run_alias_list(context); }; });
}

}  // namespace

void add_trust_verbs(CLI::App& app, Context& context) {
  // Shared by the parser's options, which write it, and the verbs, which read it.
  const auto arguments = std::make_shared<TrustArguments>();
  add_trust(app, context, arguments);
  add_alias(app, context, arguments);
}

}  // namespace connd::tools
