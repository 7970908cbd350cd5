// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/ctl_context.h"

#include <cstdio>

#include "tools/output.h"

namespace connd::tools {
namespace {

using ipc::Reason;

/// Whether bytes went through this verb, which may be missing now.
bool carries_data(std::string_view verb) {
  return verb == "open" || verb == "listen" || verb == "send" || verb == "receive";
}

/// Where to find what there is, for verbs that take one of it.
std::string_view not_found_advice(std::string_view verb) {
  if (verb == "close") return "'jami-connctl channels' and 'jami-connctl connections' show what there is";
  if (verb == "alias remove") return "'jami-connctl alias list' shows what there is";
  if (verb == "crl remove") return "'jami-connctl crl list' shows what there is";
  if (verb.starts_with("identity ") && verb != "identity revoke") {
    return "use the device that has it: there 'jami-connctl id -v' says that the account key is here";
  }
  return "check the id or name; 'jami-connctl id' on the peer shows its device id";
}

/// What a person can do about it, who has typed this verb.
std::string_view advice(Reason reason, std::string_view verb) {
  switch (reason) {
    case Reason::kDaemonAbsent:
      return {};  // the message says it
    case Reason::kNotFound:
      return not_found_advice(verb);
    case Reason::kNoAnswerOrRefused:
      return "see that the peer is online, and ask it to run: jami-connctl trust allow OUR-ID";
    case Reason::kNoNetwork:
      return "see that this machine is on the network; 'jami-connctl status' shows the DHT and its bootstrap nodes";
    case Reason::kIceFailed:
      return "see that firewalls let TCP pass between the two, and that one of them can be reached from the other";
    case Reason::kDeclined:
      return "ask the one who listens there";
    case Reason::kNoListener:
      return "ask the peer to run 'jami-connctl listen' for it, and to trust this device";
    case Reason::kBusy:
      return verb == "listen" ? "end the other one first, or listen for another name" : "try again later";
    case Reason::kBanned:
      return "lift the ban, on the device that has it, with: jami-connctl trust unset ID";
    case Reason::kNotPermitted:
      return "ask the one who may allow it: the peer, or who looks after this machine";
    case Reason::kBadCertificate:
      if (verb.starts_with("identity ") || verb.starts_with("crl ")) return "see that it is the right file, and whole";
      return "have it renewed by whose it is; 'jami-connctl status' shows what is wrong with this device's own";
    case Reason::kTimedOut:
      return verb == "open" || verb == "send" || verb == "call" ? "try again, or wait longer with --timeout"
                                                                : "try again";
    case Reason::kConnectionLost:
    case Reason::kReset:
    case Reason::kStalled:
      return carries_data(verb) ? "data may be incomplete; try again" : "try again";
    case Reason::kProtocolError:
      return "update the older of the two sides";
    case Reason::kNotReady:
      return "wait until 'jami-connctl status' says ready";
    case Reason::kResourceLimit:
      return "close something, or have the limit raised, on the side whose it is; 'jami-connctl status -v' shows this "
             "side's";
    case Reason::kDuplicate:
      return "use the channel that is open; see 'jami-connctl channels'";
    case Reason::kCancelled:
      return carries_data(verb) ? "data may be incomplete" : "";
    case Reason::kShuttingDown:
      return "try again when it runs again";
    case Reason::kInternal:
      return "see the daemon's log";
    default:
      return {};
  }
}

void print_line(const std::string& line) {
  const std::string out = line + "\n";
  // One write: lines of several programs on one stderr do not mix.
  std::fwrite(out.data(), 1, out.size(), stderr);
}

}  // namespace

std::string plain_id(const std::string& text) {
  std::string_view rest = text;
  const std::size_t first = rest.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return text;
  rest.remove_prefix(first);
  if (rest.starts_with("jami:")) rest.remove_prefix(5);
  std::string digits;
  for (const char c : rest) {
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    if ((c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F')) return text;
    digits += c;
  }
  return digits.size() == 40 || digits.size() == 64 ? digits : text;
}

std::unique_ptr<ipc::Client> Context::connect(int& exit_code) const {
  auto client = ipc::Client::connect({.socket_path = socket_path, .name = "jami-connctl", .version = CONND_VERSION});
  if (client) return std::move(*client);
  exit_code = fail(client.error());
  return nullptr;
}

std::optional<ipc::Json> Context::call(std::string_view method, ipc::Json params, int& exit_code) const {
  const auto client = connect(exit_code);
  if (!client) return std::nullopt;
  auto reply = client->call(method, std::move(params));
  if (reply) return std::move(*reply);
  exit_code = fail(reply.error());
  return std::nullopt;
}

std::optional<ipc::Json> Context::list(std::string_view method, const char* items, int& exit_code) const {
  const auto client = connect(exit_code);
  if (!client) return std::nullopt;
  auto reply = client->list(method, items);
  if (reply) return std::move(*reply);
  exit_code = fail(reply.error());
  return std::nullopt;
}

int Context::fail(const ipc::Error& error, std::string_view hint) const {
  std::string line = "jami-connctl: " + verb + ": " + printable(error.message);
  line += " (" + std::string(proto::reason_name(error.reason)) + ")";
  if (!error.detail.empty()) line += ": " + printable(error.detail);
  if (hint.empty()) hint = advice(error.reason, verb);
  if (!hint.empty()) line += ": " + std::string(hint);
  print_line(line);
  return error.exit_code();
}

int Context::fail(std::string_view text, int exit_code) const {
  print_line("jami-connctl: " + verb + ": " + printable(text));
  return exit_code;
}

void Context::say(std::string_view text) const {
  print_line("jami-connctl: " + verb + ": " + printable(text));
}

}  // namespace connd::tools
