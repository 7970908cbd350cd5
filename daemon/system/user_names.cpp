// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/user_names.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <vector>

namespace connd::daemon {
namespace {

/// getpwnam_r, getgrnam_r; false when there is no such entry. ERANGE says that the entry does not fit; 1 MiB holds some
/// ten thousand members of a group.
template <class Entry, class Look>
bool look_up(Look look, const std::string& name, Entry& entry, std::vector<char>& buffer) {
  for (std::size_t size = 4'096; size <= (std::size_t{1} << 20); size *= 4) {
    buffer.resize(size);
    Entry* found = nullptr;
    if (look(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == ERANGE) continue;
    return found != nullptr;
  }
  return false;
}

}  // namespace

std::optional<uid_t> user_id(const std::string& name) {
  passwd entry{};
  std::vector<char> buffer;
  if (!look_up(::getpwnam_r, name, entry, buffer)) return std::nullopt;
  return entry.pw_uid;
}

std::optional<gid_t> group_id(const std::string& name) {
  group entry{};
  std::vector<char> buffer;
  if (!look_up(::getgrnam_r, name, entry, buffer)) return std::nullopt;
  return entry.gr_gid;
}

}  // namespace connd::daemon
