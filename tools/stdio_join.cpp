// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/stdio_join.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <sys/socket.h>

#include "tools/output.h"

namespace connd::tools {
namespace {

// For the daemon's word on an abort; it answers at once or not at all.
constexpr ipc::Client::Milliseconds kAbortWait{1000};

/// A terminal may stop taking output (^S) for as long as its user likes, and must still be left by ^C: so it is opened
/// once more, in a non-blocking mode that no other program shares. None for what is no terminal.
ipc::Fd reopened_terminal() {
  if (::isatty(STDOUT_FILENO) == 0) return {};
  return ipc::Fd(::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

ipc::ChannelSocket non_blocking(ipc::ChannelSocket channel) {
  // The open file is ours alone: the daemon has closed its copy. splice needs the flag, send and recv do not.
  const int flags = ::fcntl(channel.fd(), F_GETFL);
  ::fcntl(channel.fd(), F_SETFL, flags | O_NONBLOCK);
  return channel;
}

}  // namespace

StdioJoin::StdioJoin(ipc::Client& client, ipc::ChannelSocket channel, Options options)
    : client_(client),
      channel_(non_blocking(std::move(channel))),
      options_(options),
      terminal_(reopened_terminal()),
      up_(STDIN_FILENO, channel_.fd()),
      down_(channel_.fd(), terminal_ ? terminal_.get() : STDOUT_FILENO) {}

std::optional<StdioJoin::Clock::time_point> StdioJoin::quiet_deadline() const {
  // Bytes that wait for a slow reader of stdout have come: it is not quiet.
  if (!options_.quiet || !finished_ || !down_.running() || down_.holds_data()) return std::nullopt;
  return std::max(finished_at_, down_.last_move()) + *options_.quiet;
}

void StdioJoin::prepare(PollSet& set) {
  up_.prepare(set);
  down_.prepare(set);
  if (const auto deadline = quiet_deadline()) set.wake_at(*deadline);
}

void StdioJoin::run(const PollSet& set) {
  if (done_) return;
  up_.run(set);
  down_.run(set);
  watch_up();
  watch_down();
  watch_quiet();
  if (!channel_.end()) return;
  up_.stop();  // nobody takes it any more
  done_ = done_ || !down_.running();
}

void StdioJoin::watch_up() {
  if (up_.state() == Pump::State::kEnded && !finished_) {
    channel_.finish();
    finished_ = true;
    finished_at_ = Clock::now();
  }
  if (up_.state() == Pump::State::kReadFailed) abort();
  // kWriteFailed: the channel is gone, and its end is on its way.
}

void StdioJoin::watch_down() {
  if (down_.state() == Pump::State::kWriteFailed) abort();
  if (down_.state() == Pump::State::kEnded && options_.end_stdout && !stdout_ended_) {
    stdout_ended_ = true;
    ::shutdown(STDOUT_FILENO, SHUT_WR);  // ENOTSOCK elsewhere
  }
}

void StdioJoin::watch_quiet() {
  const auto deadline = quiet_deadline();
  if (done_ || !deadline || Clock::now() < *deadline) return;
  quiet_over_ = true;
  abort();
}

void StdioJoin::abort() {
  if (done_) return;
  done_ = true;
  up_.stop();
  down_.stop();
  if (!channel_.end()) client_.call("channel.close", {{"channel", channel_.handle()}}, ipc::Client::ReplyHandler{});
  channel_.close();
  client_.run_until([this] { return channel_.end().has_value(); }, kAbortWait);
}

int StdioJoin::report(const Context& context) const {
  if (down_.state() == Pump::State::kWriteFailed) {
    // As a filter of a shell pipeline that writes to nobody: silently.
    if (down_.error() == EPIPE) return exit_code_of_signal(SIGPIPE);
    return context.fail(cannot_write(down_.error()));
  }
  if (up_.state() == Pump::State::kReadFailed) {
    return context.fail("cannot read standard input: " + std::system_category().message(up_.error()));
  }
  if (quiet_over_) {
    return context.fail(ipc::make_error(ipc::Reason::kTimedOut, "the peer did not end the channel in the time of -q"),
                        "what it sent may be incomplete");
  }
  const auto& end = channel_.end();
  if (!end) return context.fail(ipc::make_error(ipc::Reason::kCancelled));
  if (!end->clean()) return context.fail(end->result().error());
  if (down_.state() == Pump::State::kReadFailed) return context.fail(ipc::make_error(ipc::Reason::kReset));
  return 0;
}

}  // namespace connd::tools
