// SPDX-License-Identifier: GPL-3.0-or-later
/// PacedOpens: opens that are to go on, or to have their answer, in later turns. One local user may have tens of
/// thousands that end, or go on, at the same moment.
#pragma once

#include <deque>
#include <functional>
#include <set>
#include <utility>

#include "daemon/connection/open_request.h"
#include "daemon/event_loop/loop.h"

namespace connd::daemon {

/// Lives on the loop's thread.
class PacedOpens {
 public:
  /// So many do in one turn.
  static constexpr std::size_t kPerTurn = 32;
  static constexpr proto::Duration kPause = std::chrono::milliseconds(1);

  using Step = std::function<void(OpenNumber)>;
  using Complete = std::function<void(OpenNumber, OpenResult)>;

  /// `complete` is called with the answers of opens whose time has come.
  PacedOpens(Loop& loop, Complete complete) : complete_(std::move(complete)), timer_(loop, [this] { run(); }) {}

  /// Takes the step for each of them once: for some at once, if none waits already, for the rest in later turns.
  void go_on(std::set<OpenNumber> opens, Step step);
  /// The answer of an open, in a later turn.
  void complete_later(OpenNumber open, OpenResult result);

 private:
  struct Released {
    std::set<OpenNumber> opens;
    Step step;

    void take_one() {
      const OpenNumber open = opens.extract(opens.begin()).value();
      step(open);
    }
  };
  void run();

  const Complete complete_;
  std::deque<std::pair<OpenNumber, OpenResult>> answers_;
  std::deque<Released> released_;
  Timer timer_;
};

}  // namespace connd::daemon
