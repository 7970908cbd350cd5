// SPDX-License-Identifier: GPL-3.0-or-later
/// PrefixReservation: names that only one user, or the members of one group, may listen for.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/system/outcome.h"
#include "ipc/fd_pass.h"

namespace connd::daemon {

/// Several of the same prefix add up. Root always may.
struct PrefixReservation {
  std::string prefix;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;

  [[nodiscard]] bool permits(const ipc::PeerCredentials& client) const;
  /// As parse() reads it, with numbers.
  [[nodiscard]] std::string text() const;
  /// From "user:NAME PREFIX" or "group:NAME PREFIX"; NAME may be a number. Looks the name up, which may block. Failure:
  /// anything else, no user or group of that name, or a prefix that no name can begin with.
  static Outcome<PrefixReservation> parse(std::string_view text);

  friend bool operator==(const PrefixReservation&, const PrefixReservation&) = default;
};

}  // namespace connd::daemon
