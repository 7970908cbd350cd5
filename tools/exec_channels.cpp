// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/exec_channels.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <sys/socket.h>
#include <sys/wait.h>

#include "tools/output.h"

namespace connd::tools {
namespace {

// For the daemon's word on aborts; it answers at once or not at all.
constexpr ipc::Client::Milliseconds kAbortWait{1000};

enum class Unread { kNothing, kData, kEof };

/// What a program has left in its channel. Takes nothing.
Unread peek(int fd) {
  char byte = 0;
  const ssize_t n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n > 0) return Unread::kData;
  // A failure (ECONNRESET) is an end as well: which, the daemon tells.
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? Unread::kNothing : Unread::kEof;
}

/// The daemon has closed its end: the channel is over, and how, its word will say. A program that writes or reads on
/// learns it from the fd, and may be gone before that word is here.
bool hung_up(int fd) {
  pollfd polled{fd, 0, 0};
  return ::poll(&polled, 1, 0) == 1 && (polled.revents & POLLHUP) != 0;
}

std::string status_text(int status) {
  if (WIFSIGNALED(status)) return "was ended by signal " + std::to_string(WTERMSIG(status));
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

void ExecChannels::start(ipc::ChannelSocket channel) {
  const std::uint64_t handle = channel.handle();
  auto keeper = Keeper::start(context_.exec, channel.fd(),
                              {{"JAMI_PEER", channel.device()}, {"JAMI_URI", channel.uri()}}, grace_);
  if (context_.json) {
    print_json({{"type", "channel.opened"},
                {"channel", handle},
                {"peer", channel.device()},
                {"account", channel.account()},
                {"uri", channel.uri()}});
    std::fflush(stdout);
  }
  Program& program = programs_.emplace(handle, Program{std::move(channel)}).first->second;
  program.channel.on_closed([this, handle](const ipc::ChannelEnd&) { on_end(handle); });
  if (keeper) {
    program.keeper.emplace(std::move(*keeper));
    return;
  }
  program.exited = true;
  abort(program, "could not be started: " + keeper.error().message());
}

void ExecChannels::reap() {
  // One SIGCHLD may stand for several.
  for (auto& [handle, program] : programs_) look(program);
  drop_ended();
}

void ExecChannels::look(Program& program) {
  if (!program.keeper) return;
  program.keeper->update();
  if (!program.exited && program.keeper->status()) on_exit(program, *program.keeper->status());
}

void ExecChannels::on_exit(Program& program, int status) {
  program.exited = true;
  if (program.channel.end()) return;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return abort(program, status_text(status));
  look_for_unread(program);
  if (!program.failure.empty()) return;
  program.channel.finish();
  program.finished = true;
}

void ExecChannels::look_for_unread(Program& program) {
  const Unread unread = peek(program.channel.fd());
  if (unread == Unread::kData) abort(program, "left data of the peer unread");
  if (unread == Unread::kEof) program.peer_ended = true;
}

void ExecChannels::abort(Program& program, std::string why) {
  if (!program.failure.empty() || program.channel.end() || hung_up(program.channel.fd())) return;
  program.failure = std::move(why);
  // The fd may live on in the program or its children, so closing ours would not do.
  client_.call("channel.close", {{"channel", program.channel.handle()}}, ipc::Client::ReplyHandler{});
  program.channel.close();
}

void ExecChannels::prepare(PollSet& set) {
  for (auto& [handle, program] : programs_) {
    const bool watched = program.finished && !program.peer_ended && program.channel.fd() >= 0;
    program.index = watched ? set.add(program.channel.fd(), POLLIN) : PollSet::kNone;
    const bool kept = program.keeper && program.keeper->fd() >= 0;
    program.keeper_index = kept ? set.add(program.keeper->fd(), POLLIN) : PollSet::kNone;
  }
}

void ExecChannels::run(const PollSet& set) {
  for (auto& [handle, program] : programs_) {
    if (set.ready(program.keeper_index)) look(program);
    if (set.ready(program.index) && !program.channel.end()) look_for_unread(program);
  }
  drop_ended();
}

void ExecChannels::on_end(std::uint64_t handle) {
  const auto it = programs_.find(handle);
  if (it == programs_.end()) return;
  Program& program = it->second;
  if (program.keeper) program.keeper->over(program.channel.end()->clean() ? Keeper::End::kClean : Keeper::End::kBroken);
}

void ExecChannels::drop_ended() {
  for (auto& [handle, program] : programs_) {
    if (program.reported || !program.exited || !program.channel.end()) continue;
    program.reported = true;
    report(program);
  }
  std::erase_if(programs_, [](const auto& item) {
    return item.second.reported && (!item.second.keeper || item.second.keeper->gone());
  });
}

void ExecChannels::report(const Program& program) {
  const ipc::ChannelEnd& end = *program.channel.end();
  if (context_.json) {
    print_json({{"type", "channel.closed"},
                {"channel", program.channel.handle()},
                {"peer", program.channel.device()},
                {"uri", program.channel.uri()},
                {"reason", proto::reason_name(end.reason)},
                {"bytes_in", end.bytes_in},
                {"bytes_out", end.bytes_out}});
    std::fflush(stdout);
  }
  if (end.clean()) {
    last_exit_code_ = 0;
  } else if (!program.failure.empty()) {
    last_exit_code_ = context_.fail("channel " + program.channel.uri() + ": " + context_.exec.front() + " " +
                                    program.failure + ": the peer was told by a reset");
  } else {
    ipc::Error error = end.result().error();
    // Who leaves a session (ssh ends its ProxyCommand so) aborts as well: only the program knows whether data is lost.
    const bool left = error.reason == ipc::Reason::kReset;
    error.message = "channel " + program.channel.uri() + ": " +
                    (left ? "the other side ended it before " + context_.exec.front() + " did" : error.message);
    last_exit_code_ = context_.fail(error, left ? "a session that is left ends so, a transfer is incomplete" : "");
  }
}

void ExecChannels::abort_all() {
  for (auto& [handle, program] : programs_) {
    abort(program, "was interrupted");
    if (program.keeper) program.keeper->over(Keeper::End::kBroken);
  }
  const auto all_ended = [this] {
    return std::all_of(programs_.begin(), programs_.end(),
                       [](const auto& item) { return !!item.second.channel.end(); });
  };
  client_.run_until(all_ended, kAbortWait);
}

}  // namespace connd::tools
