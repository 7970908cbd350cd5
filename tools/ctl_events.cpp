// SPDX-License-Identifier: GPL-3.0-or-later
/// The verbs events and call.
#include <array>
#include <cerrno>
#include <ctime>

#include <CLI/CLI.hpp>

#include "tools/ctl_context.h"
#include "tools/output.h"
#include "tools/turn.h"

namespace connd::tools {
namespace {

using ipc::Json;

// ---- events

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::time_t>(seconds);
  const auto milliseconds = static_cast<int>((seconds - static_cast<double>(whole)) * 1000);
  std::tm time{};
  ::localtime_r(&whole, &time);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02d %02d:%02d:%02d.%03d", time.tm_year + 1900, time.tm_mon + 1,
                time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec, milliseconds);
  return text.data();
}

std::string value_text(const Json& value) {
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  return json_text(value);
}

/// "name=value" of all members but those that stand in the line already, and certificates, which are long.
std::string members_text(const Json& members) {
  std::string text;
  for (const auto& [name, value] : members.items()) {
    if (name == "type" || name == "time" || name == "seq" || name == "certificate") continue;
    text += " " + printable(name) + "=" + value_text(value);
  }
  return text;
}

/// 0, or the errno that says why nobody will see it.
int flush_error() {
  return flush_stdout() ? 0 : errno;
}

int print_event(const Context& context, const ipc::Event& event, const Json& members) {
  if (context.json) {
    Json line = members;
    line["type"] = event.type;  // events.lost has none of its own
    print_json(line);
  } else {
    const std::string when = event.time > 0 ? clock_text(event.time) : "-";
    std::printf("%s %s%s\n", when.c_str(), printable(event.type).c_str(), members_text(members).c_str());
  }
  return flush_error();
}

int print_snapshot(const Context& context, const ipc::Snapshot& snapshot) {
  Json whole = ipc::write_members(snapshot);
  whole["type"] = "snapshot";
  if (context.json) {
    print_json(whole);
  } else {
    std::printf("- snapshot network=%s reachable=%s ready=%s connections=%zu channels=%zu\n",
                std::string(ipc::enum_name(snapshot.network)).c_str(),
                std::string(ipc::enum_name(snapshot.reachable)).c_str(), snapshot.ready ? "true" : "false",
                snapshot.connections.size(), snapshot.channels.size());
    for (const Json& item : whole["connections"]) std::printf("- connection%s\n", members_text(item).c_str());
    for (const Json& item : whole["channels"]) std::printf("- channel%s\n", members_text(item).c_str());
  }
  return flush_error();
}

int run_events(const Context& context) {
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  SignalFd signals;
  std::optional<ipc::Error> failed;
  int unseen = 0;  // errno of stdout
  client->on_lost([&failed](const ipc::Error& error) { failed = error; });
  client->on_event([&](const ipc::Event& event, const Json& members) { unseen = print_event(context, event, members); },
                   [&](const ipc::Outcome<ipc::Snapshot>& snapshot) {
                     if (!snapshot) failed = snapshot.error();
                     if (snapshot) unseen = print_snapshot(context, *snapshot);
                   });
  while (!failed) {
    const auto signal = turn(*client, signals);
    if (signal && *signal != SIGCHLD) return exit_code_of_signal(*signal);
    // The disk is full: without this we would go on for ever.
    if (unseen != 0) return context.fail(cannot_write(unseen));
  }
  return context.fail(*failed);
}

// ---- call

int run_call(const Context& context, const std::string& method, const std::string& text, double timeout_s) {
  const Json params = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!params.is_object()) {
    return context.fail("JSON must be an object such as '{\"peer\":\"bob\"}'", kExitUsage);
  }
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  const auto timeout = std::chrono::duration_cast<ipc::Client::Milliseconds>(std::chrono::duration<double>(timeout_s));
  const auto reply = client->call(method, params, timeout);
  if (!reply) return context.fail(reply.error());
  print_json(*reply);
  return 0;
}

}  // namespace

void add_event_verbs(CLI::App& app, Context& context) {
  auto* events = app.add_subcommand("events", "print what is, then what happens, one line each, until interrupted");
  events->footer("Example: jami-connctl events --json | jq -r .type");
  events->callback([&context] { context.run = [&context] { return run_events(context); }; });

  struct Arguments {
    std::string method;
    std::string params = "{}";
    double timeout_s = 60;
  };
  const auto arguments = std::make_shared<Arguments>();  // written by the parser, read by the verb
  auto* call = app.add_subcommand("call", "call a method of the local API, and print its result as one line of JSON");
  call->footer("A channel that comes with the result is closed. Example: jami-connctl call daemon.status | jq .dht");
  call->add_option("method", arguments->method, "such as trust.list; rpc.discover shows all")
      ->required()
      ->type_name("METHOD");
  call->add_option("json", arguments->params, "its params, an object (default {})")->type_name("JSON");
  call->add_option("--timeout", arguments->timeout_s, "how long to wait for the answer (60)")
      ->check(CLI::Range(0.001, 86'400.0))
      ->type_name("SECONDS");
  call->callback([&context, arguments] {
    context.run = [&context, arguments] {
      return run_call(context, arguments->method, arguments->params, arguments->timeout_s);
    };
  });
}

}  // namespace connd::tools
