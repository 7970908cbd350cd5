// SPDX-License-Identifier: GPL-3.0-or-later
/// UserPlaces: how much of a table one local user may have, so that others find a place. Pure.
///
/// Administrators are not held to it: they can end the daemon. A user service has one user, and the rule gives all to
/// it.
#pragma once

#include <cstddef>
#include <string>

namespace connd::daemon {

struct UserPlaces {
  /// Of any table, one user has at most this much.
  std::size_t percent = 100;

  [[nodiscard]] bool shared() const { return percent < 100; }
  /// Places of `all` that one user may have; one at least.
  [[nodiscard]] std::size_t share(std::size_t all) const {
    const std::size_t part = all / 100 * percent + all % 100 * percent / 100;
    return part > 0 ? part : 1;
  }
  /// The last places of `all` are kept: a sixteenth for administrators, another for users that have none. Two users
  /// together could take everything otherwise.
  [[nodiscard]] std::size_t kept(std::size_t all) const { return shared() ? all / kKeptPart : 0; }
  /// Whether a user that has `own` of the `taken` places may have one more.
  [[nodiscard]] bool may_take(std::size_t own, std::size_t taken, std::size_t all) const {
    const std::size_t limit = all - kept(all) - (own > 0 ? kept(all) : 0);
    return own < share(all) && taken < limit;
  }

  static constexpr std::size_t kKeptPart = 16;
};

/// For an error: what the share is of, and how much it is.
inline std::string share_text(const char* what, std::size_t share, std::size_t all) {
  return std::string("this user has its share of ") + what + ": " + std::to_string(share) + " of " +
         std::to_string(all);
}

}  // namespace connd::daemon
