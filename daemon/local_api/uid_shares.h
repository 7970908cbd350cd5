// SPDX-License-Identifier: GPL-3.0-or-later
/// UidShares: whose turn it is when several local users want the loop's time: deficit round robin over users, round
/// robin over the clients of each. Pure: time is told.
///
/// A user may begin work while there is credit, and pays afterwards, for what a piece of work costs is not known
/// before. In debt one waits until the others have had as much, or, where nobody else wants anything, not at all:
/// nothing is left idle. A debt outlives its clients; it is forgotten at the pace of the clock while its user wants
/// nothing.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include <sys/types.h>

#include "daemon/local_api/listener_table.h"

namespace connd::daemon {

class UidShares {
 public:
  using Time = std::chrono::nanoseconds;
  using Instant = std::chrono::steady_clock::time_point;
  /// What each gets in a round: some ordinary requests. Also the longest that a user with nothing to pay waits for each
  /// of the others, but for the piece of work under way.
  static constexpr Time kQuantum = std::chrono::microseconds(250);
  /// Nobody waits longer for what was done once.
  static constexpr Time kMaxDebt = std::chrono::seconds(1);
  struct Turn {
    uid_t uid;
    ClientNumber client;
    bool operator==(const Turn&) const = default;
  };

  /// There is work of this client. Costs nothing when that is known.
  void want(uid_t uid, ClientNumber client, Instant now);
  /// There is none any more, or it has gone.
  void leave(uid_t uid, ClientNumber client, Instant now);
  [[nodiscard]] bool wants(ClientNumber client) const { return in_.contains(client); }
  [[nodiscard]] bool empty() const { return ring_.empty(); }
  /// Who works next: one piece, then charge(). Nothing when nobody wants to.
  [[nodiscard]] std::optional<Turn> next();
  /// Also for what was done for a user outside of a turn.
  void charge(uid_t uid, Time spent, Instant now);

  struct Account {
    Time spent{};                 ///< in all
    std::uint64_t held_back = 0;  ///< times that it was passed over, in debt, for another
  };
  /// Of a user that wants something, or did not long ago.
  [[nodiscard]] Account account(uid_t uid) const;
  /// Of all users, since the beginning.
  [[nodiscard]] const Account& total() const { return total_; }

 private:
  struct User {
    std::deque<ClientNumber> clients;  ///< that want something; the next one first
    Time credit{};
    Instant since{};  ///< that it wants nothing
    Account account;
  };
  /// Users that want nothing are forgotten, with their debts paid, when there are more than this.
  static constexpr std::size_t kMaxIdle = 1'024;

  User& user(uid_t uid, Instant now);
  void forget(Instant now);
  void forgive();

  std::unordered_map<uid_t, User> users_;
  std::unordered_set<ClientNumber> in_;
  std::deque<uid_t> ring_;  ///< users that want something; the next one first
  Account total_;
};

}  // namespace connd::daemon
