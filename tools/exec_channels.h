// SPDX-License-Identifier: GPL-3.0-or-later
/// ExecChannels: the programs of `listen --exec`, each with its channel.
///
/// A channel ends with its program. Exit status 0, with nothing of the peer's left unread, finishes our direction;
/// anything else aborts the channel: the peer sees a reset, and cannot take what it got for complete. We keep the
/// channel's fd open beside the program until the daemon has told the end, since a strict channel whose last fd closes
/// before `finish` is an abort. A program whose channel breaks gets SIGHUP, and all that it started: what they read as
/// EOF is none. A place is free when all of them are gone (tools/keeper.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "ipc/client.h"
#include "tools/ctl_context.h"
#include "tools/keeper.h"
#include "tools/turn.h"

namespace connd::tools {

/// Programs at once: a peer must not be able to fill this machine's process table.
inline constexpr std::size_t kMaxPrograms = 256;

class ExecChannels : public Pumped {
 public:
  /// `context` has the command, and prints. `grace`: how long programs have to end by themselves.
  ExecChannels(const Context& context, ipc::Client& client, std::chrono::milliseconds grace)
      : context_(context), client_(client), grace_(grace) {}

  [[nodiscard]] bool full() const { return programs_.size() >= kMaxPrograms; }
  /// Starts the command on the channel.
  void start(ipc::ChannelSocket channel);
  /// After SIGCHLD: looks which programs have ended.
  void reap();
  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;
  /// Ends all channels now, tells the programs by SIGHUP, and waits for the daemon's word, a second at most. Programs
  /// that do not end are killed after the grace, also when this process is no more.
  void abort_all();
  /// Exit code of the channel that ended last, once one has.
  [[nodiscard]] const std::optional<int>& last_exit_code() const { return last_exit_code_; }

 private:
  struct Program {
    ipc::ChannelSocket channel;
    std::optional<Keeper> keeper{};  // none: it could not be started
    bool exited = false;
    bool reported = false;
    bool finished = false;    // channel.finish was sent
    bool peer_ended = false;  // EOF was seen after the program's exit
    std::string failure{};    // why we aborted
    PollSet::Index index = PollSet::kNone;
    PollSet::Index keeper_index = PollSet::kNone;
  };
  void look(Program& program);
  void on_exit(Program& program, int status);
  void look_for_unread(Program& program);
  void abort(Program& program, std::string why);
  void on_end(std::uint64_t handle);
  void drop_ended();
  void report(const Program& program);

  const Context& context_;
  ipc::Client& client_;
  const std::chrono::milliseconds grace_;
  std::map<std::uint64_t, Program> programs_;  // by the channel's handle
  std::optional<int> last_exit_code_;
};

}  // namespace connd::tools
