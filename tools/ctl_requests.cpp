// SPDX-License-Identifier: GPL-3.0-or-later
/// The verbs requests, accept and decline: who may connect, where the daemon asks (--ice-request ask).
#include <algorithm>
#include <cerrno>
#include <set>

#include <CLI/CLI.hpp>

#include "tools/ctl_context.h"
#include "tools/output.h"
#include "tools/turn.h"

namespace connd::tools {
namespace {

using ipc::Json;

/// Fewer digits of an id are no prefix: too easily somebody else's.
constexpr std::size_t kLeastDigits = 8;

struct RequestArguments {
  std::string peer;
  bool watch = false;
};

/// Why nobody is asked at all; nothing where the daemon asks.
std::string not_asked(const ipc::DaemonStatus& status) {
  if (status.ice_request == ipc::IceRequestPolicy::kAsk) return {};
  return "the daemon runs with --ice-request " + std::string(ipc::enum_name(status.ice_request)) +
         ", and asks nobody; 'jami-connctl status' shows who was turned away";
}

std::string how_to_answer(const std::string& peer) {
  return "jami-connctl accept " + peer;
}

// ---- requests

int print_requests(const Context& context, const ipc::ConnectionRequestsResult& result, const Json& reply) {
  if (context.json) {
    for (const Json& request : reply["requests"]) print_json(request);
    return 0;
  }
  for (const auto& request : result.requests) {
    std::printf("%s, for %s, %s left: %s\n", printable(request.peer).c_str(), human_age(request.age_s).c_str(),
                human_age(request.left_s).c_str(), how_to_answer(printable(request.peer)).c_str());
  }
  if (!result.registered) {
    context.say(
        "no program is there that is asked, so requests are declined at once; "
        "'jami-connctl requests --watch' is one");
  } else if (result.requests.empty()) {
    context.say("no request waits for an answer");
  }
  return 0;
}

int print_asked(const Context& context, const Json& params, bool over) {
  if (context.json) {
    Json line = params;
    line["type"] = over ? "connection.request_cancelled" : "connection.request";
    print_json(line);
  } else if (!over) {
    const std::string peer = params.value("peer", std::string());
    std::printf("%s asks to connect: %s\n", printable(peer).c_str(), how_to_answer(printable(peer)).c_str());
  }
  return flush_stdout() ? 0 : errno;
}

/// As long as this runs, this program is the one that the daemon asks.
int watch_requests(const Context& context, ipc::Client& client) {
  SignalFd signals;
  std::optional<ipc::Error> failed;
  int unseen = 0;  // errno of stdout
  client.on_lost([&failed](const ipc::Error& error) { failed = error; });
  client.on_notification("connection.request",
                         [&](const Json& params) { unseen = print_asked(context, params, false); });
  client.on_notification("connection.request_cancelled",
                         [&](const Json& params) { unseen = print_asked(context, params, true); });
  const auto registered = client.call("policy.register", Json::object());
  if (!registered) {
    return context.fail(registered.error(), "without --watch this verb shows what that client is asked");
  }
  context.say("waiting for requests; each is declined unless it is answered in time");
  while (!failed) {
    const auto signal = turn(client, signals);
    if (signal && *signal != SIGCHLD) return exit_code_of_signal(*signal);
    if (unseen != 0) return context.fail(cannot_write(unseen));
  }
  return context.fail(*failed);
}

int run_requests(const Context& context, const RequestArguments& arguments) {
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  const auto status = client->fetch<ipc::DaemonStatus>("daemon.status");
  if (!status) return context.fail(status.error());
  if (const std::string why = not_asked(*status); !why.empty()) {
    context.say(why);
    return 0;
  }
  if (arguments.watch) return watch_requests(context, *client);
  const auto reply = client->call("connection.requests", Json::object());
  if (!reply) return context.fail(reply.error());
  const auto result = ipc::read_result<ipc::ConnectionRequestsResult>(*reply);
  if (!result) return context.fail(result.error());
  return print_requests(context, *result, *reply);
}

// ---- accept, decline

bool is_prefix(std::string_view text) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() >= kLeastDigits && text.size() <= 64 && std::all_of(text.begin(), text.end(), hex);
}

/// What an id must begin with: digits as they stand, or those of the device that has this alias.
ipc::Outcome<std::string> digits_of(ipc::Client& client, std::string peer) {
  std::string digits = peer;
  std::transform(digits.begin(), digits.end(), digits.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (is_prefix(digits)) return digits;
  const auto list = client.fetch_list<ipc::AliasListResult>("alias.list", "aliases");
  if (!list) return list.error();
  for (const auto& alias : list->aliases) {
    if (alias.name == peer) return alias.device;
  }
  return ipc::make_error(ipc::Reason::kInvalidArgument,
                         "expected a device id, its first " + std::to_string(kLeastDigits) +
                             " digits or more, or an alias; there is none '" + peer + "'");
}

int answer_requests(const Context& context, const RequestArguments& arguments, bool accept) {
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  const auto digits = digits_of(*client, arguments.peer);
  if (!digits) return context.fail(digits.error());
  const auto waiting = client->fetch<ipc::ConnectionRequestsResult>("connection.requests");
  if (!waiting) return context.fail(waiting.error());
  std::set<std::string> devices;
  for (const auto& request : waiting->requests) {
    if (request.peer.starts_with(*digits)) devices.insert(request.peer);
  }
  if (devices.empty()) {
    return context.fail(ipc::make_error(ipc::Reason::kNotFound, "no request of that device waits for an answer"),
                        "'jami-connctl requests' shows those that do; who asks often is let in for good with: "
                        "jami-connctl trust allow ID");
  }
  if (devices.size() > 1) {
    std::string text = "several devices that wait begin so:";
    for (const std::string& device : devices) text += " " + device;
    return context.fail(text, kExitUsage);
  }
  // It may have asked more than once.
  std::size_t answered = 0;
  std::optional<ipc::Error> over;
  for (const auto& request : waiting->requests) {
    if (request.peer != *devices.begin()) continue;
    const auto done = client->call(accept ? "connection.accept" : "connection.decline", {{"request", request.request}});
    answered += done ? 1 : 0;
    if (!done) over = done.error();
  }
  if (answered == 0) return context.fail(*over);
  const std::string peer = printable(*devices.begin());
  if (context.json) {
    print_json({{"peer", *devices.begin()}, {"accepted", accept}});
  } else {
    std::printf("%s %s\n", accept ? "accepted" : "declined", peer.c_str());
    if (accept) context.say("it may connect this once; to let it in for good: jami-connctl trust allow " + peer);
  }
  return 0;
}

void add_answer(CLI::App& app, Context& context, const std::shared_ptr<RequestArguments>& arguments, bool accept) {
  const char* name = accept ? "accept" : "decline";
  auto* verb = app.add_subcommand(name, accept ? "let a device connect that waits for an answer, this once"
                                               : "turn a device away that waits for an answer");
  verb->footer(std::string("Example: jami-connctl ") + name + " 0123cdef");
  verb->add_option("id", arguments->peer, "the device's id, its first 8 digits or more, or its alias")
      ->required()
      ->type_name("ID")
      ->transform(plain_id);
  verb->callback([&context, arguments, accept] {
    context.run = [&context, arguments, accept] { return answer_requests(context, *arguments, accept); };
  });
}

constexpr const char* kRequestsFooter =
    R"(With --ice-request ask the daemon asks one program whether an unknown device may connect, and declines if there is
none, or none answers within --policy-timeout (10 s). With --watch this verb is that program: it prints each request as
it comes; accept and decline, in another terminal, answer it.

Example: jami-connctl requests --watch)";

}  // namespace

void add_request_verbs(CLI::App& app, Context& context) {
  const auto arguments = std::make_shared<RequestArguments>();  // written by the parser, read by the verbs
  auto* requests = app.add_subcommand("requests", "list the unknown devices that wait to be let in");
  requests->footer(kRequestsFooter);
  requests->add_flag("--watch", arguments->watch, "be the one that is asked, and print each as it comes");
  requests->callback(
      [&context, arguments] { context.run = [&context, arguments] { return run_requests(context, *arguments); }; });
  add_answer(app, context, arguments, true);
  add_answer(app, context, arguments, false);
}

}  // namespace connd::tools
