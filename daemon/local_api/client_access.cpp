// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/client_access.h"

#include <unistd.h>

#include "daemon/system/user_names.h"

namespace connd::daemon {
ClientAccess ClientAccess::user_service() {
  ClientAccess access;
  access.owner = ::geteuid();
  return access;
}

ClientAccess ClientAccess::system_service() {
  ClientAccess access;
  access.users = group_id(kUsersGroup);
  access.admins = group_id(kAdminsGroup);
  return access;
}

bool ClientAccess::is_admin(const ipc::PeerCredentials& client) const {
  if (client.uid == 0) return true;
  if (owner) return client.uid == *owner;
  return admins && client.in_group(*admins);
}

bool ClientAccess::may_connect(const ipc::PeerCredentials& client) const {
  return is_admin(client) || (users && client.in_group(*users));
}

}  // namespace connd::daemon
