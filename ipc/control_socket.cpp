// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/control_socket.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace connd::ipc {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// The connected socket, or the errno that says why there is none.
struct Attempt {
  Fd socket;
  int error = 0;
};

/// Whose directory this is.
enum class Whose { kNobodys, kOurs, kAnothers };
Whose whose(const std::string& directory) {
  struct stat what {};
  if (::stat(directory.c_str(), &what) != 0 || !S_ISDIR(what.st_mode)) return Whose::kNobodys;
  return what.st_uid == ::geteuid() ? Whose::kOurs : Whose::kAnothers;
}

std::string socket_below(const std::string& directory) {
  return directory + "/jami-connd/control.sock";
}

/// Below $XDG_RUNTIME_DIR, or empty.
std::string user_socket_path() {
  const std::string dir = environment("XDG_RUNTIME_DIR");
  return dir.empty() ? dir : socket_below(dir);
}

/// What to say of a socket that may not be used.
std::string refusal(const std::string& path) {
  const std::string text = "no permission to use " + path;
  if (path == kSystemSocketPath) return text + ", members of the group jami-connd may";
  if (path == user_socket_path()) return text + ", only the owner of XDG_RUNTIME_DIR may";
  return text + ", see 'ls -l " + path + "'";
}

Attempt try_path(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return {Fd{}, ENAMETOOLONG};
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return {Fd{}, errno};
  // Blocks only while the daemon's backlog is full, which it empties all the time.
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {Fd{}, errno};
  return {std::move(socket), 0};
}

}  // namespace

std::vector<std::string> control_socket_paths(const std::string& explicit_path, const std::string& users) {
  if (!explicit_path.empty()) return {explicit_path};
  if (std::string path = environment("JAMI_CONND_SOCKET"); !path.empty()) return {std::move(path)};
  std::vector<std::string> paths;
  const std::string named = environment("XDG_RUNTIME_DIR");
  const bool anothers = !named.empty() && whose(named) == Whose::kAnothers;
  if (!named.empty() && !anothers) paths.push_back(socket_below(named));
  const std::string usual = users + "/" + std::to_string(::geteuid());
  if (usual != named && whose(usual) == Whose::kOurs) paths.push_back(socket_below(usual));
  paths.emplace_back(kSystemSocketPath);
  if (anothers) paths.push_back(socket_below(named));
  return paths;
}

Outcome<Fd> connect_control_socket(const std::vector<std::string>& paths) {
  std::string tried;
  std::string refused;
  for (const std::string& path : paths) {
    Attempt attempt = try_path(path);
    if (attempt.socket) return std::move(attempt.socket);
    if (attempt.error == EACCES || attempt.error == EPERM) {
      refused += (refused.empty() ? "" : "; ") + refusal(path);
    } else {
      tried += (tried.empty() ? "" : ", ") + path + ": " + std::system_category().message(attempt.error);
    }
  }
  if (!refused.empty()) return make_error(Reason::kNotPermitted, refused, tried);
  return make_error(
      Reason::kDaemonAbsent,
      "jami-connd does not run here; start it with 'systemctl --user start jami-connd' or 'systemctl start "
      "jami-connd', or name its socket in JAMI_CONND_SOCKET",
      tried);
}

}  // namespace connd::ipc
