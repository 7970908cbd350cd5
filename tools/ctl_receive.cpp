// SPDX-License-Identifier: GPL-3.0-or-later
/// The verb receive: files that peers send, into one directory.
#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>

#include <CLI/CLI.hpp>

#include "tools/commit_pool.h"
#include "tools/ctl_context.h"
#include "tools/file_report.h"
#include "tools/incoming_file.h"
#include "tools/output.h"
#include "tools/peer_places.h"
#include "tools/receive_place.h"
#include "tools/turn.h"

namespace connd::tools {
namespace {

// Files that come at once, of all peers: three descriptors each, of the usual 1,024 of a process. One peer has half of
// them at most.
constexpr std::size_t kMaxReceiving = 256;
// Requests that wait for their turn: some senders more. One that has waited for 30 s is declined by the daemon. One
// peer has half of these too.
constexpr std::size_t kMaxWaiting = 1024;
// Nothing tells that the directory is gone: it is looked for.
constexpr std::chrono::seconds kLookAgain{2};
// The loop turns at least as often as it looks. If it has not, it was stopped, or waited for whoever reads its output.
constexpr std::chrono::seconds kOwnSleep{10};
// For the last words to the senders, and the daemon's.
constexpr ipc::Client::Milliseconds kEndWaitAll{1000};

struct ReceiveArguments {
  std::string directory;
  std::string from;
  std::uint64_t count = 0;  ///< 0: no end
  Allowance allowance;
  ReceiveRules rules;
  bool any_name = false;
  bool any_directory = false;
};

/// One run of the verb.
class Receiving : public Pumped {
 public:
  Receiving(const Context& context, ipc::Client& client, const ReceiveArguments& arguments, ReceiveDir directory)
      : context_(context),
        client_(client),
        arguments_(arguments),
        directory_(std::move(directory)),
        report_(context, "received"),
        pool_(directory_),
        allowance_(arguments.allowance),
        scratch_(kFileChunkBytes) {}

  int run();
  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;

 private:
  [[nodiscard]] bool find_sender();
  void listen();
  void on_listening(const ipc::Outcome<std::uint64_t>& listener);
  void on_request(ipc::IncomingRequest request);
  void accept_waiting();
  void accept(ipc::IncomingRequest request);
  [[nodiscard]] MaybeProblem problem_of_name(const ipc::Outcome<FilePath>& path) const;
  void on_channel(FilePath path, ipc::Outcome<ipc::ChannelSocket>&& channel);
  void make_room();
  [[nodiscard]] IncomingFile* place_for_another(std::size_t asking) const;
  void look_after(PollSet::Clock::time_point now);
  void hand_over_whole();
  void take_committed();
  void settle();
  void count_one();
  [[nodiscard]] bool enough() const { return arguments_.count > 0 && begun_ >= arguments_.count; }
  [[nodiscard]] bool done() const { return enough() && accepting_ == 0 && active_.empty(); }
  int interrupted(int signal);
  int on_gone();
  void wind_down(const FileProblem& why);

  const Context& context_;
  ipc::Client& client_;
  const ReceiveArguments& arguments_;
  ReceiveDir directory_;
  FileReport report_;
  SignalFd signals_;  // before the pool, whose threads must not take the signals
  CommitPool pool_;
  std::string sender_;  // device id of --from, or empty
  std::optional<std::uint64_t> listener_;
  std::optional<int> exit_code_;
  std::optional<ipc::Error> lost_;
  std::deque<ipc::IncomingRequest> waiting_;
  std::size_t accepting_ = 0;
  std::uint64_t begun_ = 0;  // files that count for --count: accepted, or declined for their name
  Allowance allowance_;
  proto::ByteVector scratch_;
  PeerPlaces places_{kMaxReceiving};
  PollSet::Clock::time_point look_at_ = PollSet::Clock::now();  // when the directory is looked for again
  PollSet::Clock::time_point ran_ = PollSet::Clock::now();
  bool gone_ = false;                                  // the directory
  std::map<std::string, SenderPulse> senders_;         // by device id, as long as any file comes
  std::vector<std::unique_ptr<FileTransfer>> active_;  // IncomingFiles
  std::map<std::uint64_t, IncomingFile*> committing_;  // by the pool's number
  std::uint64_t next_commit_ = 0;
  PollSet::Index pool_index_ = PollSet::kNone;
};

int Receiving::run() {
  client_.on_lost([this](const ipc::Error& error) { lost_ = error; });
  if (!arguments_.from.empty() && !find_sender()) return *exit_code_;
  listen();
  while (!exit_code_ && !done()) {
    const auto signal = turn(client_, signals_, this);
    if (signal && *signal != SIGCHLD) return interrupted(*signal);
    if (gone_) return on_gone();
    // What is decided by the loss is told before.
    if (lost_ && active_.empty() && !exit_code_) {
      report_.failed(*lost_, "start jami-connd again, and this verb too");
      return report_.end();
    }
  }
  return exit_code_ ? *exit_code_ : report_.end();
}

/// --from as a device id, as requests have it.
bool Receiving::find_sender() {
  sender_ = arguments_.from;
  if (!ipc::check_alias(sender_)) {
    // Then it is an id, in digits of either case, or the daemon will say that it is none.
    std::array<std::uint8_t, 32> id{};
    if (proto::from_hex(sender_, id)) sender_ = proto::to_hex(id);
    return true;
  }
  const auto aliases = client_.fetch_list<ipc::AliasListResult>("alias.list", "aliases");
  if (!aliases) {
    exit_code_ = context_.fail(aliases.error());
    return false;
  }
  const auto it = std::find_if(aliases->aliases.begin(), aliases->aliases.end(),
                               [this](const ipc::Alias& alias) { return alias.name == sender_; });
  if (it != aliases->aliases.end()) {
    sender_ = it->device;
    return true;
  }
  exit_code_ = context_.fail(ipc::make_error(ipc::Reason::kNotFound, "there is no alias " + sender_));
  return false;
}

void Receiving::listen() {
  ipc::Client::ListenOptions options;
  options.prefix = true;
  // Whom we name, we take files from, also if it is not trusted otherwise.
  if (!sender_.empty()) options.peers = ipc::Json::array({sender_});
  client_.listen_ask(
      kFilePrefix, options, [this](ipc::IncomingRequest request) { on_request(std::move(request)); },
      [this](const ipc::Outcome<std::uint64_t>& listener) { on_listening(listener); });
}

void Receiving::on_listening(const ipc::Outcome<std::uint64_t>& listener) {
  if (!listener) {
    // Waiting does not help: it listens for as long as it runs.
    const bool taken = listener.error().reason == ipc::Reason::kBusy;
    exit_code_ =
        context_.fail(listener.error(), taken ? "another 'jami-connctl receive' runs: end that one first" : "");
    return;
  }
  listener_ = *listener;
  // Scripts wait for this line: from here on a peer's file finds us.
  report_.say("listening for file://*, into " + arguments_.directory);
  if (!context_.json) return;
  print_json({{"type", "listening"}, {"listener", *listener}, {"directory", arguments_.directory}});
  std::fflush(stdout);
}

void Receiving::on_request(ipc::IncomingRequest request) {
  if (!sender_.empty() && request.device() != sender_) {
    if (context_.verbose) report_.say("declined " + request.uri() + " of " + request.device());
    return request.decline("the receiver takes files of another device only");
  }
  const auto of_peer = [&request](const auto& one) { return one.device() == request.device(); };
  const auto too_many = [&] {
    return waiting_.size() == kMaxWaiting ||
           static_cast<std::size_t>(std::count_if(waiting_.begin(), waiting_.end(), of_peer)) >= kMaxWaiting / 2;
  };
  // Those whose senders gave up wait for nothing.
  if (too_many()) std::erase_if(waiting_, [](const auto& one) { return one.cancelled(); });
  if (too_many()) return request.decline("busy: too many files wait at the receiver");
  waiting_.push_back(std::move(request));
  accept_waiting();
}

void Receiving::accept_waiting() {
  std::erase_if(waiting_, [](const auto& one) { return one.cancelled(); });
  const auto may_come = [this](const auto& one) { return places_.may_have_more(one.device(), one.account()); };
  while (!enough() && places_.free()) {
    const auto it = std::find_if(waiting_.begin(), waiting_.end(), may_come);
    if (it == waiting_.end()) return;
    ipc::IncomingRequest request = std::move(*it);
    waiting_.erase(it);
    accept(std::move(request));
  }
}

/// Who waits for a place while others keep theirs without a step: those who have the most of them lose one.
void Receiving::make_room() {
  if (places_.free()) return;
  auto leaving = std::count_if(active_.begin(), active_.end(), [](const auto& file) { return file->decided(); });
  for (const auto& request : waiting_) {
    if (request.cancelled() || !places_.may_have_more(request.device(), request.account())) continue;
    if (leaving-- > 0) continue;
    IncomingFile* file = place_for_another(places_.of(request.device(), request.account()));
    if (file == nullptr) return;
    file->give_place();
  }
}

IncomingFile* Receiving::place_for_another(std::size_t asking) const {
  std::vector<PlaceHolder> holders;
  for (const auto& transfer : active_) {
    const auto& file = static_cast<const IncomingFile&>(*transfer);
    holders.push_back({places_.of(file.channel()->device(), file.channel()->account()), file.stepped()});
  }
  const auto found = tools::place_for_another(holders, asking, PollSet::Clock::now() - kPatienceIfWanted);
  return found ? static_cast<IncomingFile*>(active_[*found].get()) : nullptr;
}

MaybeProblem Receiving::problem_of_name(const ipc::Outcome<FilePath>& path) const {
  if (!path) return FileProblem{FileCode::kBadName, path.error().message};
  if (std::string odd = arguments_.any_name ? "" : odd_name(*path); !odd.empty()) {
    return FileProblem{FileCode::kBadName, odd + ": 'receive --any-name' takes it"};
  }
  return directory_.check(*path);
}

void Receiving::accept(ipc::IncomingRequest request) {
  gone_ = gone_ || directory_.gone();
  if (gone_) return request.decline("the receiver's directory is gone");
  const auto path = path_of_uri(request.uri());
  if (const MaybeProblem problem = problem_of_name(path)) {
    const FilePath shown = path ? *path : FilePath{request.uri()};
    report_.failed(
        shown, request.device(),
        {.text = problem->said_here(), .reason = reason_of(problem->code), .hint = receiver_hint(problem->code)});
    request.decline(problem->text);
  } else {
    ++accepting_;
    places_.take(request.device(), request.account());
    request.accept([this, path = *path, device = request.device(),
                    account = request.account()](ipc::Outcome<ipc::ChannelSocket> channel) mutable {
      if (!channel) places_.leave(device, account);
      on_channel(std::move(path), std::move(channel));
    });
  }
  count_one();
}

/// With --count, the last one that counts ends the listening: a sender with more is told at once.
void Receiving::count_one() {
  ++begun_;
  report_.expect(1, 0);
  if (!enough() || !listener_) return;
  client_.stop_listening(*listener_);  // behind the answer to the last: requests without one are declined by it
  waiting_.clear();
}

void Receiving::on_channel(FilePath path, ipc::Outcome<ipc::ChannelSocket>&& channel) {
  --accepting_;
  if (!channel) {
    // The sender gave up in between.
    const ipc::Error& error = channel.error();
    return report_.failed(path, "", {.text = error.message, .reason = error.reason, .detail = error.detail});
  }
  SenderPulse& sender = senders_[channel->device()];
  const IncomingFile::Receiver receiver{directory_, scratch_, allowance_};
  active_.push_back(std::make_unique<IncomingFile>(std::move(*channel), std::move(path), receiver, sender));
}

void Receiving::prepare(PollSet& set) {
  for (const auto& file : active_) file->prepare(set);
  pool_index_ = set.add(pool_.fd(), POLLIN);
  set.wake_at(look_at_);
  if (const auto draw = report_.next_draw(); draw && !active_.empty()) set.wake_at(*draw);
}

void Receiving::run(const PollSet& set) {
  for (const auto& file : active_) file->run(set);
  look_after(PollSet::Clock::now());
  hand_over_whole();
  if (set.ready(pool_index_)) take_committed();
  settle();
  accept_waiting();
  make_room();
  report_.draw(active_);
}

/// What comes by time alone.
void Receiving::look_after(PollSet::Clock::time_point now) {
  const auto slept = now - std::exchange(ran_, now);
  if (slept > kOwnSleep) {
    for (auto& [device, sender] : senders_) sender.stepped += slept;
    for (const auto& file : active_) static_cast<IncomingFile&>(*file).forgive(slept);
  }
  for (const auto& file : active_) static_cast<IncomingFile&>(*file).check_late(now);
  if (now < look_at_) return;
  look_at_ = now + kLookAgain;
  gone_ = gone_ || directory_.gone();
}

void Receiving::hand_over_whole() {
  for (const auto& transfer : active_) {
    auto& file = static_cast<IncomingFile&>(*transfer);
    std::unique_ptr<NewFile> whole = file.take_whole();
    if (!whole) continue;
    committing_[next_commit_] = &file;
    pool_.add(next_commit_++, std::move(whole));
  }
}

void Receiving::take_committed() {
  for (auto& result : pool_.take_results()) {
    const auto it = committing_.find(result.number);
    it->second->on_committed(std::move(result.problem));
    committing_.erase(it);
  }
}

void Receiving::settle() {
  std::erase_if(active_, [this](const std::unique_ptr<FileTransfer>& file) {
    if (file->take_decided()) report_.decided(*file, file->channel()->device());
    if (file->over()) places_.leave(file->channel()->device(), file->channel()->account());
    return file->over();
  });
  if (active_.empty()) senders_.clear();
}

int Receiving::interrupted(int signal) {
  wind_down({FileCode::kInterrupted, "the receiver was interrupted", "interrupted"});
  if (report_.done() + report_.failures() > 0) report_.say("interrupted");
  static_cast<void>(report_.end());
  return exit_code_of_signal(signal);
}

int Receiving::on_gone() {
  report_.failed(arguments_.directory + " is gone: it was removed, or another has its name");
  wind_down({FileCode::kFailed, "the receiver's directory is gone", "the directory is gone"});
  return report_.end();
}

void Receiving::wind_down(const FileProblem& why) {
  if (listener_) client_.stop_listening(*listener_);
  waiting_.clear();
  // What is being brought to the disk is still told; what waits for it is not done.
  pool_.stop();
  take_committed();
  for (const auto& file : active_) static_cast<IncomingFile&>(*file).interrupt(why);
  settle();
  const auto all_ended = [this] {
    return std::all_of(active_.begin(), active_.end(), [](const auto& file) { return file->channel()->end(); });
  };
  const auto end_by = PollSet::Clock::now() + kEndWaitAll;
  while (!all_ended() && client_.connected() && PollSet::Clock::now() < end_by) {
    PollSet set;
    const auto daemon = set.add(client_.fd(), static_cast<short>(POLLIN | (client_.wants_write() ? POLLOUT : 0)));
    for (const auto& file : active_) file->prepare(set);
    set.wake_at(end_by);
    set.wait();
    if (set.ready(daemon)) client_.process();
    for (const auto& file : active_) file->run(set);
    settle();
  }
}

int run_receive(const Context& context, const ReceiveArguments& arguments) {
  auto directory = ReceiveDir::open(arguments.directory, arguments.rules);
  if (!directory) return context.fail("cannot open " + arguments.directory + ": " + directory.error().message);
  if (!arguments.any_directory) {
    const std::string unfit = unfit_place(directory->fd(), homes_beside(directory->fd()));
    if (!unfit.empty()) {
      return context.fail("does not take files into " + arguments.directory + ": " + unfit +
                              ": name one of its own, or add --any-directory",
                          kExitUsage);
    }
  }
  int exit_code = 0;
  const auto client = context.connect(exit_code);
  if (!client) return exit_code;
  return Receiving(context, *client, arguments, std::move(*directory)).run();
}

constexpr const char* kReceiveFooter =
    R"(Takes what peers send with 'jami-connctl send'. A file has a hidden name (.jami-receive-…) in its directory until all
of it is there, checked by its SHA-256 and safe on the disk; then it gets its own name and the sender is told. A file
that exists is not replaced without --force. Nothing is written outside of DIR, and no symbolic link in it is followed.

What others send is data: it cannot be executed without --executables, and names of which a part begins with '.' or '-',
or has control characters or such as turn the order of others, are declined without --any-name. DIR is not the top of a
home directory, nor in a git work tree, unless --any-directory is given.

Only peers that are trusted get through; with --from only PEER does, trusted or not. At most 256 files come at once, of
one peer 128; others wait. A file of which less than 64 KiB comes in 10 minutes is given up, unless its sender's other
files come meanwhile; in one minute, if another peer waits for its place. It ends when DIR is removed.

'listening for …' on stderr says that peers can send now. It goes on until it is interrupted (130, 143), or, with
--count, until N files have come or failed; then the exit code is that of the first that failed, or 0.

Example: jami-connctl receive ~/Downloads --from alice --count 2)";

/// "10M" and "10MB" are 10,000,000, as all sizes are shown; "10MiB" is 10,485,760.
void add_size(CLI::App& verb, const char* name, std::uint64_t& bytes, const char* text) {
  verb.add_option(name, bytes, text)->transform(CLI::AsSizeValue(true))->type_name("SIZE");
}

}  // namespace

void add_receive(CLI::App& app, Context& context) {
  const auto arguments = std::make_shared<ReceiveArguments>();  // written by the parser, read by the verb
  auto* receive = app.add_subcommand("receive", "take files that peers send, into a directory");
  receive->footer(kReceiveFooter);
  receive->add_option("directory", arguments->directory, "where they go")->required()->type_name("DIR");
  receive->add_option("--from", arguments->from, "take files of this device only")
      ->type_name("PEER")
      ->transform(plain_id);
  receive->add_option("--count", arguments->count, "end after so many files")
      ->check(CLI::Range(std::uint64_t{1}, ipc::kMaxSafeInteger))
      ->type_name("N");
  receive->add_flag("--force", arguments->rules.force, "replace files that exist");
  add_size(*receive, "--max-size", arguments->allowance.file_bytes, "refuse files of more bytes (none)");
  add_size(*receive, "--max-total", arguments->allowance.total_bytes, "take no more bytes in all (no bound)");
  receive->add_flag("--executables", arguments->rules.executables, "let files be executed that the sender may execute");
  receive->add_flag("--any-name", arguments->any_name, "also take hidden names, and such as are not what they seem");
  receive->add_flag("--any-directory", arguments->any_directory, "also into a home directory or a git work tree");
  receive->callback(
      [&context, arguments] { context.run = [&context, arguments] { return run_receive(context, *arguments); }; });
}

}  // namespace connd::tools
