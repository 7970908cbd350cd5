// SPDX-License-Identifier: GPL-3.0-or-later
/// StdioJoin: one channel joined to standard input and output, for `open`, and for `listen` without --exec.
///
/// The end of stdin finishes our direction, the peer's end ends stdout's; it is over when the daemon has said how the
/// channel ended and all that came is written. Owns the channel and its fd; stdin and stdout stay the process's.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "ipc/client.h"
#include "tools/ctl_context.h"
#include "tools/pump.h"
#include "tools/turn.h"

namespace connd::tools {

class StdioJoin : public Pumped {
 public:
  using Clock = Pump::Clock;
  struct Options {
    /// End the channel when stdin has ended and for so long nothing has come.
    std::optional<Clock::duration> quiet;
    /// Where stdout is a socket, shut it down for writing when the peer has ended: whoever is behind it hears of that
    /// while the other direction goes on. Nothing can be written to it after.
    bool end_stdout = false;
  };

  StdioJoin(ipc::Client& client, ipc::ChannelSocket channel, Options options);

  void prepare(PollSet& set) override;
  void run(const PollSet& set) override;
  [[nodiscard]] bool done() const { return done_; }
  /// Ends it now: the peer sees a reset. Waits for the daemon's word, a second at most.
  void abort();
  /// Tells what went wrong, if anything did; the exit code. Once done.
  [[nodiscard]] int report(const Context& context) const;
  [[nodiscard]] const ipc::ChannelSocket& channel() const { return channel_; }
  /// False when nobody takes our output any more: no channel can be joined again.
  [[nodiscard]] bool stdout_usable() const { return down_.state() != Pump::State::kWriteFailed; }

 private:
  void watch_up();
  void watch_down();
  void watch_quiet();
  [[nodiscard]] std::optional<Clock::time_point> quiet_deadline() const;

  ipc::Client& client_;
  ipc::ChannelSocket channel_;
  Options options_;
  ipc::Fd terminal_;  // stdout once more, non-blocking, if it is a terminal
  Pump up_;
  Pump down_;
  bool finished_ = false;
  Clock::time_point finished_at_{};
  bool quiet_over_ = false;
  bool stdout_ended_ = false;
  bool done_ = false;
};

}  // namespace connd::tools
