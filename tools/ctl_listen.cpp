// SPDX-License-Identifier: GPL-3.0-or-later
/// The verb listen: takes channels that peers open, one program per channel, or joins them to stdin and stdout.
#include <algorithm>
#include <optional>

#include <CLI/CLI.hpp>

#include "tools/ctl_context.h"
#include "tools/exec_channels.h"
#include "tools/output.h"
#include "tools/spawn.h"
#include "tools/stdio_join.h"

namespace connd::tools {
namespace {

struct ListenArguments {
  std::string uri;
  bool exact = false;
  bool once = false;
  std::string peers;       ///< "any", ids and aliases with commas, or empty
  std::string only_peers;  ///< ids and aliases with commas, or empty
  double kill_after = 5;   ///< seconds
};

/// One run of the verb. Requests are asked for, not taken by themselves, so that one too many is declined in words.
class Listening {
 public:
  Listening(const Context& context, ipc::Client& client, const ListenArguments& arguments)
      : context_(context),
        client_(client),
        arguments_(arguments),
        programs_(context, client,
                  std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::duration<double>(arguments.kill_after))) {}

  int run();

 private:
  void on_listening(const ipc::Outcome<std::uint64_t>& listener);
  void on_request(ipc::IncomingRequest request);
  void on_channel(ipc::Outcome<ipc::ChannelSocket> channel);
  [[nodiscard]] std::string refusal(const ipc::IncomingRequest& request) const;
  [[nodiscard]] bool busy() const { return accepting_ || joined_ || (arguments_.once && taken_); }
  Pumped* pumped();
  void end_joined();
  int interrupted(int signal);

  const Context& context_;
  ipc::Client& client_;
  const ListenArguments& arguments_;
  SignalFd signals_;
  ExecChannels programs_;
  std::optional<StdioJoin> joined_;
  std::optional<std::uint64_t> listener_;
  bool accepting_ = false;
  bool taken_ = false;  // a channel has come
  std::optional<int> exit_code_;
  std::optional<ipc::Error> lost_;
};

bool is_prefix(const ListenArguments& arguments) {
  return !arguments.exact && arguments.uri.ends_with('*');
}

ipc::Json peers_json(const std::string& peers) {
  if (peers.empty()) return "allowed";
  if (peers == "any") return "any";
  ipc::Json list = ipc::Json::array();
  for (const auto& peer : CLI::detail::split(peers, ',')) list.push_back(peer);
  return list;
}

int Listening::run() {
  client_.on_lost([this](const ipc::Error& error) { lost_ = error; });
  ipc::Client::ListenOptions options;
  options.prefix = is_prefix(arguments_);
  options.peers = peers_json(arguments_.peers);
  if (!arguments_.only_peers.empty()) options.only_peers = CLI::detail::split(arguments_.only_peers, ',');
  const std::string uri = options.prefix ? arguments_.uri.substr(0, arguments_.uri.size() - 1) : arguments_.uri;
  client_.listen_ask(
      uri, options, [this](ipc::IncomingRequest request) { on_request(std::move(request)); },
      [this](const ipc::Outcome<std::uint64_t>& listener) { on_listening(listener); });
  while (!exit_code_) {
    const auto signal = turn(client_, signals_, pumped());
    if (signal == SIGCHLD) programs_.reap();
    if (signal && *signal != SIGCHLD) return interrupted(*signal);
    if (joined_ && joined_->done()) end_joined();
    if (arguments_.once && programs_.last_exit_code()) exit_code_ = programs_.last_exit_code();
    // With --once the channel's own end tells more, and comes first.
    if (lost_ && !exit_code_ && !joined_) {
      programs_.abort_all();
      exit_code_ = context_.fail(*lost_, "start jami-connd again, and this verb too");
    }
  }
  return *exit_code_;
}

Pumped* Listening::pumped() {
  if (context_.has_exec) return &programs_;
  return joined_ ? &*joined_ : nullptr;
}

void Listening::on_listening(const ipc::Outcome<std::uint64_t>& listener) {
  if (!listener) {
    exit_code_ = context_.fail(listener.error());
    return;
  }
  listener_ = *listener;
  // Scripts wait for this line: from here on a peer's open finds us.
  context_.say("listening for " + arguments_.uri);
  if (context_.json && context_.has_exec) {
    print_json({{"type", "listening"}, {"listener", *listener}, {"uri", arguments_.uri}});
    std::fflush(stdout);
  }
}

/// Why a request is declined; empty if it is not.
std::string Listening::refusal(const ipc::IncomingRequest& request) const {
  if (!context_.has_exec) return busy() ? "busy: it takes one channel at a time" : "";
  if (arguments_.once && busy()) return "busy: it takes one channel only";
  if (programs_.full()) return "busy: it has " + std::to_string(kMaxPrograms) + " channels already";
  if (request.uri().find('\0') != std::string::npos) return "its program cannot be given a name with a NUL";
  return {};
}

void Listening::on_request(ipc::IncomingRequest request) {
  if (std::string text = refusal(request); !text.empty()) return request.decline(std::move(text));
  accepting_ = true;
  request.accept([this](ipc::Outcome<ipc::ChannelSocket> channel) { on_channel(std::move(channel)); });
}

void Listening::on_channel(ipc::Outcome<ipc::ChannelSocket> channel) {
  accepting_ = false;
  // The peer gave up in between: the next one is welcome.
  if (!channel) return;
  taken_ = true;
  if (arguments_.once && listener_) client_.stop_listening(*listener_);
  if (context_.verbose) context_.say("channel " + channel->uri() + " from " + channel->device());
  if (context_.has_exec) {
    programs_.start(std::move(*channel));
  } else {
    joined_.emplace(client_, std::move(*channel), StdioJoin::Options{});
  }
}

void Listening::end_joined() {
  const int code = joined_->report(context_);
  const bool usable = joined_->stdout_usable();
  joined_.reset();
  if (arguments_.once || !usable) exit_code_ = code;
}

int Listening::interrupted(int signal) {
  if (joined_) joined_->abort();
  programs_.abort_all();
  return exit_code_of_signal(signal);
}

int run_listen(const Context& context, const ListenArguments& arguments) {
  if (context.has_exec && context.exec.empty()) {
    return context.fail("--exec needs a program: --exec CMD [ARGUMENT…], at the end of the line", kExitUsage);
  }
  if (context.has_exec && !command_exists(context.exec.front())) {
    return context.fail("--exec: there is no program " + context.exec.front() +
                        "; a shell command is: --exec sh -c '…'");
  }
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  return Listening(context, *client, arguments).run();
}

constexpr const char* kListenFooter =
    R"(With --exec, each channel gets a CMD of its own with the channel as its stdin and stdout, JAMI_PEER (device id) and
JAMI_URI in its environment; at most 256 at once, others are declined. CMD is run as it stands, without a shell. When
it exits with 0 and has read all that the peer sent, the channel ends cleanly; otherwise the peer sees a reset. If the
channel breaks, CMD and all that it started get SIGHUP at once, and SIGKILL after --kill-after SECONDS. What CMD leaves
behind at a clean end has that time to end by itself, then the same comes. Its place is free when all are gone. CMD has a
session of its own, without this terminal. With --json, a line is printed when a channel opens and when it has ended.

Without --exec, channels are joined to stdin and stdout, one at a time; a second one is declined meanwhile. When stdin
has ended, later channels only receive.

'listening for …' on stderr says that peers can open now. It goes on until it is interrupted (130, 143), or, with
--once, until its first channel has ended, whose exit code it has. Only peers that are trusted get through, unless
--peers says otherwise; and an unknown peer must get a connection first: see the daemon's --ice-request. With
--only-peers nobody but these gets through, whoever else is trusted: that gives one friend one service.

Examples: jami-connctl listen --once file://file1 > file1
          jami-connctl listen 'echo*' --exec cat)";

}  // namespace

void add_listen(CLI::App& app, Context& context) {
  const auto arguments = std::make_shared<ListenArguments>();  // written by the parser, read by the verb
  auto* listen = app.add_subcommand("listen", "take channels that peers open");
  listen->footer(kListenFooter);
  listen->add_option("uri", arguments->uri, "name to listen for; a final * stands for any ending")
      ->required()
      ->type_name("URI|PREFIX*");
  listen->add_flag("--exact", arguments->exact, "take a final * as it stands");
  listen->add_flag("--once", arguments->once, "end with the first channel, with its exit code");
  listen
      ->add_option("--peers", arguments->peers, "take channels also of peers that are not allowed: of any, or of these")
      ->type_name("any|PEER,…");
  listen->add_option("--only-peers", arguments->only_peers, "of those, take channels of these devices or accounts only")
      ->type_name("PEER,…");
  listen
      ->add_option("--kill-after", arguments->kill_after, "what --exec started, and does not end, is killed after this")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 3600.0));
  // Only for --help: main has taken it, and all behind it, off the line.
  listen->add_option("--exec", "run CMD for each channel; it takes the rest of the line")->type_name("CMD…");
  listen->callback(
      [&context, arguments] { context.run = [&context, arguments] { return run_listen(context, *arguments); }; });
}

}  // namespace connd::tools
