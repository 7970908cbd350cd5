// SPDX-License-Identifier: GPL-3.0-or-later OR MIT
#include "ipc/control_socket.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <sys/socket.h>
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

std::vector<std::string> control_socket_paths(const std::string& explicit_path) {
  if (!explicit_path.empty()) return {explicit_path};
  if (std::string path = environment("JAMI_CONND_SOCKET"); !path.empty()) return {std::move(path)};
  std::vector<std::string> paths;
  if (const std::string dir = environment("XDG_RUNTIME_DIR"); !dir.empty()) {
    paths.push_back(dir + "/jami-connd/control.sock");
  }
  paths.emplace_back(kSystemSocketPath);
  return paths;
}

Outcome<Fd> connect_control_socket(const std::vector<std::string>& paths) {
  std::string tried;
  for (const std::string& path : paths) {
    Attempt attempt = try_path(path);
    if (attempt.socket) return std::move(attempt.socket);
    if (attempt.error == EACCES || attempt.error == EPERM) {
      return make_error(Reason::kNotPermitted,
                        "no permission to use " + path + "; members of its group may: see 'ls -l " + path + "'");
    }
    tried += (tried.empty() ? "" : ", ") + path + ": " + std::system_category().message(attempt.error);
  }
  return make_error(
      Reason::kDaemonAbsent,
      "jami-connd does not run here; start it with 'systemctl --user start jami-connd' or 'systemctl start "
      "jami-connd', or name its socket in JAMI_CONND_SOCKET",
      tried);
}

}  // namespace connd::ipc
