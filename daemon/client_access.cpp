// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/client_access.h"

#include <grp.h>
#include <unistd.h>

#include <vector>

namespace connd::daemon {
namespace {

std::optional<gid_t> group_id(const char* name) {
  // getgrnam_r says ERANGE when the members do not fit; 1 MiB holds some ten thousand of them.
  for (std::size_t size = 4'096; size <= (std::size_t{1} << 20); size *= 4) {
    std::vector<char> buffer(size);
    group entry{};
    group* found = nullptr;
    const int error = ::getgrnam_r(name, &entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE) continue;
    if (found == nullptr) return std::nullopt;
    return entry.gr_gid;
  }
  return std::nullopt;
}

}  // namespace

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
