// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/system/outcome.h"

#include <cerrno>

namespace connd::daemon {
namespace {

const char* hint_for(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "; free some space there";
    case EROFS:
      return "; make it writable or pass another --state-dir";
    case EACCES:
    case EPERM:
      return "; give this user access or pass another --state-dir";
    case EMFILE:
    case ENFILE:
      return "; raise the limit of open files";
    default:
      return "";
  }
}

}  // namespace

Failure system_failure(int error, const std::string& path, const std::string& what) {
  const std::error_code code(error, std::generic_category());
  return {code, path + ": " + what + ": " + code.message() + hint_for(error)};
}

}  // namespace connd::daemon
