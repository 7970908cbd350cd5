// SPDX-License-Identifier: GPL-3.0-or-later
/// The verb send: files to a peer, one channel each, many at once over one connection.
#include <algorithm>

#include <CLI/CLI.hpp>

#include "tools/ctl_context.h"
#include "tools/file_list.h"
#include "tools/file_report.h"
#include "tools/outgoing_file.h"
#include "tools/turn.h"

namespace connd::tools {
namespace {

// Files on their way at once: enough to fill any line with small files, few enough for a receiver that serves others
// too, and for the usual 1,024 descriptors of a process.
constexpr std::size_t kMaxSending = 64;
// For the daemon's word on aborts; it answers at once or not at all.
constexpr ipc::Client::Milliseconds kAbortWait{1000};

constexpr const char* kNobodyHint = "ask the peer to run: jami-connctl receive DIR, and to trust this device";

struct SendArguments {
  std::string peer;
  std::vector<std::string> files;
  bool recursive = false;
  double timeout_s = ipc::kDefaultTimeout;
};

/// One run of the verb.
class Sending : public Pumped {
 public:
  Sending(const Context& context, ipc::Client& client, const SendArguments& arguments, FileList list)
      : client_(client), arguments_(arguments), list_(std::move(list)), report_(context, "sent") {}

  int run();
  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;

 private:
  void tell_skipped();
  void start_more();
  void settle();
  void on_decided(const OutgoingFile& file);
  void give_up(const ipc::Error& error);
  int interrupted(int signal);
  [[nodiscard]] bool concerns_all(const ipc::Error& error) const;

  ipc::Client& client_;
  const SendArguments& arguments_;
  FileList list_;
  FileReport report_;
  SignalFd signals_;
  std::size_t next_ = 0;    // the first that has not been begun
  bool met_ = false;        // a channel could be opened: the peer is there, and takes files
  bool stop_ = false;       // a channel could not be opened, for a reason that concerns all
  std::size_t unsent_ = 0;  // beside the one that told: their opens failed too, or were not begun
  std::vector<std::unique_ptr<FileTransfer>> active_;  // OutgoingFiles
};

int Sending::run() {
  std::uint64_t bytes = 0;
  for (const auto& file : list_.files) bytes += file.size;
  report_.expect(list_.files.size(), bytes);
  tell_skipped();
  start_more();
  while (!active_.empty()) {
    const auto signal = turn(client_, signals_, this);
    if (signal && *signal != SIGCHLD) return interrupted(*signal);
  }
  if (unsent_ > 0) report_.say(std::to_string(unsent_) + " more were not sent");
  return report_.end();
}

void Sending::tell_skipped() {
  for (const auto& skipped : list_.skipped) report_.failed({skipped.source}, "", {.text = skipped.why, .local = true});
}

void Sending::start_more() {
  // The first open finds the peer; the others are then only a small record each.
  const std::size_t most = met_ ? kMaxSending : 1;
  while (!stop_ && active_.size() < most && next_ < list_.files.size()) {
    auto file = std::make_unique<OutgoingFile>(std::move(list_.files[next_++]));
    file->start(client_, arguments_.peer, arguments_.timeout_s);
    if (file->take_decided()) {  // it cannot be read
      on_decided(*file);
    } else {
      active_.push_back(std::move(file));
    }
  }
}

void Sending::prepare(PollSet& set) {
  for (const auto& file : active_) file->prepare(set);
  if (const auto draw = report_.next_draw()) set.wake_at(*draw);
}

void Sending::run(const PollSet& set) {
  for (const auto& file : active_) file->run(set);
  settle();
  start_more();
  report_.draw(active_);
}

void Sending::settle() {
  std::erase_if(active_, [this](const std::unique_ptr<FileTransfer>& transfer) {
    const auto& file = static_cast<const OutgoingFile&>(*transfer);
    met_ = met_ || file.opened();
    if (transfer->take_decided()) on_decided(file);
    return transfer->over();
  });
}

/// An open that failed for this reason: would the files that are left meet the same?
bool Sending::concerns_all(const ipc::Error& error) const {
  switch (error.reason) {
    case ipc::Reason::kDeclined:
    case ipc::Reason::kBusy:
    case ipc::Reason::kBadName:
      return false;
    case ipc::Reason::kConnectionLost:
    case ipc::Reason::kReset:
      return !client_.connected();  // our own daemon went; a peer's connection comes again
    case ipc::Reason::kTimedOut:
      return !met_;
    default:
      return true;
  }
}

void Sending::on_decided(const OutgoingFile& file) {
  const auto& error = file.open_error();
  if (error && concerns_all(*error)) {
    report_.not_begun(file.path(), *error);
    if (!stop_) return give_up(*error);
    ++unsent_;
    return;
  }
  report_.decided(file, file.opened() ? file.channel()->device() : "");
}

/// Of many that wait for the same peer, one tells.
void Sending::give_up(const ipc::Error& error) {
  stop_ = true;
  const bool nobody = error.reason == ipc::Reason::kNoListener;
  report_.failed(error, nobody ? kNobodyHint : "");
  ipc::Error others = error;
  others.message = "it was not tried: " + error.message;
  for (; next_ < list_.files.size(); ++next_, ++unsent_) report_.not_begun(list_.files[next_].path, others);
}

int Sending::interrupted(int signal) {
  for (const auto& file : active_) file->abort();
  const auto all_ended = [this] {
    return std::all_of(active_.begin(), active_.end(),
                       [](const auto& file) { return !file->channel() || file->channel()->end(); });
  };
  client_.run_until(all_ended, kAbortWait);
  report_.say("interrupted: " + std::to_string(report_.done()) + " of " + std::to_string(list_.files.size()) +
              " files are there");
  static_cast<void>(report_.end());
  return exit_code_of_signal(signal);
}

int run_send(const Context& context, const SendArguments& arguments) {
  FileList list = list_files(arguments.files, arguments.recursive);
  if (!list.usage_error.empty()) return context.fail(list.usage_error, kExitUsage);
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  return Sending(context, *client, arguments, std::move(list)).run();
}

constexpr const char* kSendFooter =
    R"(Each file goes over a channel of its own, file://NAME, at most 64 at once over one connection. It counts as sent when
the receiver has all of it, checked by its SHA-256 and safe on the disk, under its name; until then there is nothing
under that name. A file that changes while it is sent is not sent. Nothing is tried twice.

NAME is the file's name without its directories. With -r a directory DIR gives DIR/… for each regular file in it; links
and special files in it are errors, also what becomes one while others are sent, and empty directories are left out.
Permissions (without set-uid and the like) and time go along.

On a terminal, bars show rate and time left. If files fail, each gets a line, the others go on, and the exit code is
that of the first. If the peer cannot be reached, or takes no files, one line tells it, and the rest is not tried.

Example: jami-connctl send bob report.pdf photos.tar
         jami-connctl send -r bob photos)";

}  // namespace

void add_send(CLI::App& app, Context& context) {
  const auto arguments = std::make_shared<SendArguments>();  // written by the parser, read by the verb
  auto* send = app.add_subcommand("send", "send files to a peer that runs 'receive'");
  send->footer(kSendFooter);
  send->add_option("peer", arguments->peer, "device id, alias or account id")
      ->required()
      ->type_name("PEER")
      ->transform(plain_id);
  send->add_option("files", arguments->files, "what to send")->required()->type_name("FILE");
  send->add_flag("-r,--recursive", arguments->recursive, "send what is in directories, too");
  send->add_option("--timeout", arguments->timeout_s, "until the open of a channel fails (30)")
      ->check(CLI::Range(ipc::kMinTimeout, ipc::kMaxTimeout))
      ->type_name("SECONDS");
  send->callback(
      [&context, arguments] { context.run = [&context, arguments] { return run_send(context, *arguments); }; });
}

}  // namespace connd::tools
