// SPDX-License-Identifier: GPL-3.0-or-later
/// ControlTurns: when the clients of the control socket are worked for. In each turn of the loop they get a short time,
/// all together, so that what channels carry goes on whatever local programs ask for; UidShares says who gets it.
#pragma once

#include <functional>

#include "daemon/event_loop/loop.h"
#include "daemon/local_api/uid_shares.h"

namespace connd::daemon {

class ControlTurns {
 public:
  using Clock = std::chrono::steady_clock;
  /// Most of a turn. A round trip meets at most a few turns, each this long and a piece of work longer.
  static constexpr UidShares::Time kMostPerTurn = std::chrono::milliseconds(2);
  /// Beside channels that keep the loop busy the clients get as much time as those, and this much at least.
  static constexpr UidShares::Time kLeastPerTurn = std::chrono::microseconds(250);

  /// `work` does one piece of a client's work, and says whether there is more. Nothing of a session or of the
  /// ConnectionManager is on the stack then. It may want() and leave() any client.
  ControlTurns(Loop& loop, std::function<bool(ClientNumber)> work);

  void want(uid_t uid, ClientNumber client);
  void leave(uid_t uid, ClientNumber client) { shares_.leave(uid, client, Clock::now()); }
  [[nodiscard]] const UidShares& shares() const { return shares_; }

  /// While it lives, time is a user's: for what is done for clients outside of their turns, such as the answers of
  /// opens. It is taken off the next turn, too. Inside of a turn, or of another of these, it counts nothing: that is
  /// counted.
  class Charged {
   public:
    Charged(ControlTurns& turns, uid_t uid);
    ~Charged();
    Charged(const Charged&) = delete;
    Charged& operator=(const Charged&) = delete;

   private:
    ControlTurns& turns_;
    const uid_t uid_;
    const bool counts_;
    const Clock::time_point since_;
  };

 private:
  void run();

  std::function<bool(ClientNumber)> work_;
  UidShares shares_;
  bool counting_ = false;
  UidShares::Time outside_{};  ///< charged since the last turn
  Clock::time_point ended_{};  ///< when the last turn's work had
  EachTurn each_turn_;
};

}  // namespace connd::daemon
