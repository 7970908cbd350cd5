// SPDX-License-Identifier: GPL-3.0-or-later
/// ClientAccess: which local users may connect, and which of them are administrators (SPEC section 6, "Who").
#pragma once

#include <optional>

#include <sys/types.h>

#include "ipc/fd_pass.h"

namespace connd::daemon {

/// Names of the groups that the system service looks up.
inline constexpr const char* kUsersGroup = "jami-connd";
inline constexpr const char* kAdminsGroup = "jami-connd-admin";

struct ClientAccess {
  std::optional<uid_t> owner;   ///< user service: whose it is. All may be done by this user, and by root
  std::optional<gid_t> users;   ///< system service: may connect
  std::optional<gid_t> admins;  ///< system service: may do everything; may connect too

  /// Of the process's own user.
  static ClientAccess user_service();
  /// With the groups of this machine; one that does not exist has no members, and root alone is left.
  static ClientAccess system_service();

  [[nodiscard]] bool may_connect(const ipc::PeerCredentials& client) const;
  [[nodiscard]] bool is_admin(const ipc::PeerCredentials& client) const;
  /// Of the control socket: 0600 for a user service, 0660 for the system's.
  [[nodiscard]] mode_t socket_mode() const { return owner ? 0600 : 0660; }
};

}  // namespace connd::daemon
