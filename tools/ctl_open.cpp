// SPDX-License-Identifier: GPL-3.0-or-later
/// The verb open: a channel to a peer, joined to stdin and stdout.
#include <optional>

#include <CLI/CLI.hpp>

#include "tools/ctl_context.h"
#include "tools/stdio_join.h"

namespace connd::tools {
namespace {

/// -q where the channel has no half close.
constexpr double kJamiQuiet_s = 5;

struct OpenArguments {
  std::string peer;
  std::string uri;
  double quiet_s = 0;  ///< 0: not given
  ipc::Client::OpenOptions open;
};

std::string open_hint(const ipc::Error& error, const OpenArguments& arguments) {
  if (error.reason != ipc::Reason::kNoListener) return {};
  return "ask the peer to run: jami-connctl listen '" + arguments.uri + "', and to trust this device";
}

int join(const Context& context, ipc::Client& client, SignalFd& signals, ipc::ChannelSocket channel,
         const OpenArguments& arguments) {
  if (context.verbose) context.say("channel " + std::to_string(channel.handle()) + " to " + channel.device());
  StdioJoin::Options options;
  options.end_stdout = true;
  // A Jami peer does not hear of the end of stdin, and so may never end the channel itself.
  const double quiet_s = arguments.quiet_s > 0 ? arguments.quiet_s : channel.half_close() ? 0 : kJamiQuiet_s;
  if (quiet_s > 0) {
    options.quiet = std::chrono::duration_cast<StdioJoin::Clock::duration>(std::chrono::duration<double>(quiet_s));
  }
  StdioJoin joined(client, std::move(channel), options);
  while (!joined.done()) {
    const auto signal = turn(client, signals, &joined);
    if (!signal || *signal == SIGCHLD) continue;
    joined.abort();
    return exit_code_of_signal(*signal);
  }
  return joined.report(context);
}

int run_open(const Context& context, const OpenArguments& arguments) {
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  SignalFd signals;
  std::optional<ipc::Outcome<ipc::ChannelSocket>> opened;
  client->connect_device(
      arguments.peer, arguments.uri,
      [&opened](ipc::Outcome<ipc::ChannelSocket> channel) { opened.emplace(std::move(channel)); }, arguments.open);
  while (!opened) {
    const auto signal = turn(*client, signals);
    // The daemon gives a pending open up when its client goes.
    if (signal && *signal != SIGCHLD) return exit_code_of_signal(*signal);
  }
  if (!*opened) return context.fail(opened->error(), open_hint(opened->error(), arguments));
  return join(context, *client, signals, std::move(**opened), arguments);
}

constexpr const char* kOpenFooter =
    R"(The end of stdin ends our direction; the program runs on until the peer ends its own. It exits with 0 only when
the channel has ended cleanly at both sides: then, and only then, is the data complete. If the reader of its output
goes away, or a signal comes, the peer sees a reset. With -q, a peer that does not end in time is exit code 7.

A Jami peer cannot be told of the end of stdin without ending the whole channel: it hears of it when nothing has come for
the time of -q, which is 5 s there.

Example: jami-connctl open bob file://file1 < file1)";

}  // namespace

void add_open(CLI::App& app, Context& context) {
  const auto arguments = std::make_shared<OpenArguments>();  // written by the parser, read by the verb
  auto* open = app.add_subcommand("open", "open a channel to a peer, and join it to stdin and stdout");
  open->footer(kOpenFooter);
  open->add_option("peer", arguments->peer, "device id, alias or account id")
      ->required()
      ->type_name("PEER")
      ->transform(plain_id);
  open->add_option("uri", arguments->uri, "name of the channel")->required()->type_name("URI");
  open->add_option("-q", arguments->quiet_s,
                   "end the channel that long after stdin ended and the last byte came (Jami peers: 5)")
      ->check(CLI::Range(0.001, 1e6))
      ->type_name("SECONDS");
  open->add_option("--device", arguments->open.device, "of an account: this device alone")
      ->type_name("PEER")
      ->transform(plain_id);
  open->add_option("--timeout", arguments->open.timeout_s, "until the open fails (30)")
      ->check(CLI::Range(ipc::kMinTimeout, ipc::kMaxTimeout))
      ->type_name("SECONDS");
  open->add_flag("--unique", arguments->open.unique, "at most one such channel of this name with this peer");
  open->callback(
      [&context, arguments] { context.run = [&context, arguments] { return run_open(context, *arguments); }; });
}

}  // namespace connd::tools
