// SPDX-License-Identifier: GPL-3.0-or-later
/// Verbs that look: id, status, connections, channels, version; and close.
#include <algorithm>

#include <CLI/CLI.hpp>

#include "tools/ctl_context.h"
#include "tools/output.h"

namespace connd::tools {
namespace {

using ipc::Json;
using ipc::Reason;

// ---- id

constexpr double kIdWait_s = 60;  // the first key generation takes up to 7 s on a slow machine; a busy one needs more

std::string or_dash(const std::optional<std::string>& text) {
  return text && !text->empty() ? printable(*text) : "-";
}

/// The identity, waited for while the daemon makes its keys.
ipc::Outcome<Json> wait_for_identity(ipc::Client& client, const Context& context, double wait_s) {
  bool ready = false;
  const auto subscribed = client.on_event(
      [&ready](const ipc::Event& event, const Json&) { ready = ready || event.type == "identity.ready"; });
  if (!subscribed) return subscribed.error();
  auto identity = client.call("identity.show", Json::object());
  if (identity || identity.error().reason != Reason::kNotReady || wait_s <= 0) return identity;
  context.say("jami-connd is still making its keys; waiting");
  const auto wait = std::chrono::duration_cast<ipc::Client::Milliseconds>(std::chrono::duration<double>(wait_s));
  client.run_until([&ready] { return ready; }, wait);
  return client.call("identity.show", Json::object());
}

int run_id(const Context& context, double wait_s) {
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  const auto reply = wait_for_identity(*client, context, wait_s);
  if (!reply) return context.fail(reply.error());
  const auto identity = ipc::read_result<ipc::IdentityResult>(*reply);
  if (!identity) return context.fail(identity.error());
  if (context.json) {
    print_json(*reply);
    return 0;
  }
  std::printf("%s\n", printable(identity->device).c_str());
  if (context.verbose) {
    print_fields({{"account", printable(identity->account)},
                  {"ca", printable(identity->ca)},
                  {"short device id", printable(identity->short_device)},
                  {"account key", identity->account_key ? "here" : "elsewhere"}});
  }
  return 0;
}

// ---- status

std::string joined(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + printable(item);
  return text.empty() ? "none" : text;
}

std::string count_text(std::uint64_t count, const Json& limits, const char* limit) {
  std::string text = std::to_string(count);
  if (limits.contains(limit) && limits[limit].is_number()) text += " of " + limits[limit].dump();
  return text;
}

std::string reach_text(const ipc::DhtStatus& dht) {
  const std::string last = dht.last_reached_s ? human_age(*dht.last_reached_s) + " ago" : "never";
  switch (dht.reachable) {
    case ipc::Reachable::kYes:
      return "yes, for " + human_age(dht.reachable_for_s) + "; last tested " + last;
    case ipc::Reachable::kNo:
      return "no, for " + human_age(dht.reachable_for_s) + "; last reached " + last;
    case ipc::Reachable::kUnknown:
      break;
  }
  return "not known yet";
}

/// In words of this side, with what lets it in.
std::string why_turned_away(const ipc::TurnedAway& knock) {
  if (knock.reason == Reason::kDeclined) return "declined here, or not answered in time";
  if (knock.reason == Reason::kBadCertificate)
    return "it would be allowed, but its certificate is not acceptable (see the log)";
  return "not allowed; to let it in: jami-connctl trust allow " + printable(knock.peer);
}

/// The one that an administrator opens in a firewall.
std::string port_text(const ipc::DaemonStatus& status) {
  if (status.port == 0) return "none yet";
  const std::string seen = status.public_addresses.empty() ? "" : "; seen as " + joined(status.public_addresses);
  return "TCP " + std::to_string(status.port) + seen;
}

void print_status(const ipc::DaemonStatus& status, bool verbose) {
  const auto& dht = status.dht;
  std::vector<std::pair<std::string, std::string>> fields = {
      {"state", std::string(ipc::enum_name(status.state))},
      {"device", or_dash(status.device)},
      {"account", or_dash(status.account)},
      {"version",
       printable(status.version) + ", pid " + std::to_string(status.pid) + ", up " + human_age(status.uptime_s)},
      {"dht", std::string(ipc::enum_name(dht.state)) + ", " + std::to_string(dht.nodes) + " nodes, UDP port " +
                  std::to_string(dht.port)},
      {"port", port_text(status)},
      {"reachable", reach_text(dht)},
      {"bootstrap", joined(dht.bootstrap) + (dht.lan_discovery ? "; LAN discovery on" : "; LAN discovery off")},
      {"unknown peers", std::string(status.ice_request == ipc::IceRequestPolicy::kTrusted  ? "refused"
                                    : status.ice_request == ipc::IceRequestPolicy::kAnyone ? "accepted"
                                                                                           : "asked about")},
      {"connections", count_text(status.counts.connections, status.limits, "max_connections")},
      {"channels", count_text(status.counts.channels, status.limits, "max_channels")},
      {"clients", count_text(status.counts.clients, status.limits, "max_clients") + ", " +
                      std::to_string(status.counts.listeners) + " listeners, " +
                      std::to_string(status.counts.pending_opens) + " pending opens"}};
  for (const auto& knock : status.turned_away) {
    const std::string times = knock.count == 1 ? "" : std::to_string(knock.count) + " times, last ";
    fields.emplace_back("turned away", printable(knock.peer) + ", " + times + human_age(knock.last_s) +
                                           " ago: " + why_turned_away(knock));
  }
  for (const auto& problem : status.problems) fields.emplace_back("problem", printable(problem));
  if (status.problems.empty()) fields.emplace_back("problems", "none");
  if (verbose) {
    for (const auto& [name, value] : status.limits.items()) fields.emplace_back(printable(name), value.dump());
    for (const auto& [name, value] : status.metrics.items()) fields.emplace_back(printable(name), value.dump());
  }
  print_fields(fields);
}

int run_status(const Context& context) {
  int exit_code = 0;
  const auto reply = context.call("daemon.status", Json::object(), exit_code);
  if (!reply) return exit_code;
  if (context.json) {
    print_json(*reply);
    return 0;
  }
  const auto status = ipc::read_result<ipc::DaemonStatus>(*reply);
  if (!status) return context.fail(status.error());
  print_status(*status, context.verbose);
  return 0;
}

// ---- connections, channels

std::string milliseconds(const std::optional<double>& value) {
  if (!value) return "-";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f ms", *value);
  return text.data();
}

/// Calls, and prints the items of member `list`: as JSON lines, or by `table`.
template <class Result, class Table>
int run_list(const Context& context, const char* method, const char* list, const Table& table) {
  int exit_code = 0;
  const auto reply = context.list(method, list, exit_code);
  if (!reply) return exit_code;
  const auto result = ipc::read_result<Result>(*reply);
  if (!result) return context.fail(result.error());
  if (context.json) {
    for (const Json& item : (*reply)[list]) print_json(item);
  } else {
    table(*result);
  }
  return 0;
}

void print_connections(const ipc::ConnectionListResult& list) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& c : list.connections) {
    rows.push_back({printable(c.peer), std::string(ipc::enum_name(c.state)), std::string(ipc::enum_name(c.direction)),
                    std::string(ipc::enum_name(c.trust)), std::to_string(c.channels), human_bytes(c.bytes_in),
                    human_bytes(c.bytes_out), human_age(c.age_s), milliseconds(c.rtt_ms), or_dash(c.path),
                    or_dash(c.remote_address)});
  }
  print_table({"PEER", "STATE", "DIRECTION", "TRUST", "CHANNELS", "IN", "OUT", "AGE", "RTT", "PATH", "ADDRESS"}, rows);
}

void print_channels(const ipc::ChannelListResult& list) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& c : list.channels) {
    rows.push_back({std::to_string(c.channel), printable(c.peer), std::string(ipc::enum_name(c.direction)),
                    std::string(ipc::enum_name(c.state)), human_bytes(c.bytes_in), human_bytes(c.bytes_out),
                    human_age(c.age_s), printable(c.uri)});
  }
  print_table({"CHANNEL", "PEER", "DIRECTION", "STATE", "IN", "OUT", "AGE", "URI"}, rows);
}

// ---- close

/// Handles have at most 16 digits; ids have 40 or 64 and aliases start with no digit.
bool is_handle(const std::string& text) {
  constexpr std::size_t kMaxDigits = 16;  // of 2^53 - 1
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && text.size() <= kMaxDigits && std::all_of(text.begin(), text.end(), digit);
}

int run_close(const Context& context, const std::string& what) {
  int exit_code = 0;
  if (is_handle(what)) {
    const std::uint64_t handle = std::stoull(what);
    if (!context.call("channel.close", {{"channel", handle}}, exit_code)) return exit_code;
    if (context.json) print_json({{"channel", handle}});
    return 0;
  }
  const auto reply = context.call("connection.close", {{"peer", what}}, exit_code);
  if (!reply) return exit_code;
  if (context.json) {
    print_json(*reply);
  } else if (context.verbose) {
    context.say("closed connections: " + (*reply)["closed"].dump());
  }
  return 0;
}

// ---- version

int run_version(const Context& context) {
  const auto client =
      ipc::Client::connect({.socket_path = context.socket_path, .name = "jami-connctl", .version = CONND_VERSION});
  if (context.json) {
    Json out = {{"jami-connctl", CONND_VERSION}};
    if (client) out["jami-connd"] = (*client)->server().version;
    if (client) out["api"] = (*client)->server().api;
    print_json(out);
    return 0;
  }
  std::printf("jami-connctl %s\n", CONND_VERSION);
  if (client) {
    std::printf("jami-connd %s, api %llu\n", printable((*client)->server().version).c_str(),
                static_cast<unsigned long long>((*client)->server().api));
  } else {
    std::printf("jami-connd: no answer (%s)\n", std::string(proto::reason_name(client.error().reason)).c_str());
  }
  return 0;
}

CLI::App* add_verb(CLI::App& app, const char* name, const char* text, const char* example) {
  return app.add_subcommand(name, text)->footer(std::string("Example: ") + example);
}

}  // namespace

void add_status_verbs(CLI::App& app, Context& context) {
  auto* id = add_verb(app, "id", "print this device's id", "jami-connctl id");
  const auto wait = std::make_shared<double>(kIdWait_s);  // lives as long as the parser, which writes it, and the verb
  id->add_option("--wait", *wait, "how long to wait while the daemon makes its keys (60)")->type_name("SECONDS");
  id->callback([&context, wait] { context.run = [&context, wait] { return run_id(context, *wait); }; });

  auto* status = add_verb(app, "status", "show the daemon's state, counts and problems; with -v limits and metrics",
                          "jami-connctl status");
  status->callback([&context] { context.run = [&context] { return run_status(context); }; });

  auto* connections = add_verb(app, "connections", "list the connections to peers", "jami-connctl connections");
  connections->callback([&context] {
    context.run = [&context] {
      return run_list<ipc::ConnectionListResult>(context, "connection.list", "connections", print_connections);
    };
  });

  auto* channels =
      add_verb(app, "channels", "list the channels: your own, or all if you may", "jami-connctl channels --json");
  channels->callback([&context] {
    context.run = [&context] {
      return run_list<ipc::ChannelListResult>(context, "channel.list", "channels", print_channels);
    };
  });

  auto* close =
      add_verb(app, "close", "abort a channel, or close all connections with a peer", "jami-connctl close 17");
  const auto what = std::make_shared<std::string>();
  close->add_option("what", *what, "a channel's number, or a PEER or account id")
      ->required()
      ->type_name("CHANNEL|PEER");
  close->callback([&context, what] { context.run = [&context, what] { return run_close(context, *what); }; });

  auto* version =
      add_verb(app, "version", "print the versions of this program and of the daemon", "jami-connctl version");
  version->callback([&context] { context.run = [&context] { return run_version(context); }; });
}

}  // namespace connd::tools
