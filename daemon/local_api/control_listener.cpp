// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/control_listener.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "ipc/fd_pass.h"

namespace connd::daemon {
namespace {

/// Connections that wait for accept: more than all clients that there may be, so that a connect never blocks.
constexpr int kBacklog = 1'024;
/// The socket's name until it is ready: as long as the lock's, so both fit or none does.
constexpr const char* kNewSuffix = ".new";
constexpr const char* kLockSuffix = ".lock";

/// False when it does not fit.
bool make_address(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  return true;
}

Failure taken(const std::string& path) {
  return failure(std::errc::address_in_use, "another jami-connd answers on " + path +
                                                "; stop it, or give this one another place with --socket PATH");
}

Outcome<void> make_directory(const std::string& path, mode_t socket_mode) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  const std::string directory = path.substr(0, slash);
  const mode_t mode = (socket_mode & 0070) != 0 ? 0755 : 0700;
  if (::mkdir(directory.c_str(), mode) != 0 && errno != EEXIST) return system_failure(errno, directory, "mkdir");
  return {};
}

Outcome<ipc::Fd> take_lock(const std::string& path) {
  const std::string lock_path = path + kLockSuffix;
  ipc::Fd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return system_failure(errno, lock_path, "open");
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return taken(path);
  return system_failure(errno, lock_path, "lock");
}

/// Success: there is nothing at the path, or what is there may be replaced.
Outcome<void> check_place(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return system_failure(errno, path, "stat");
  }
  if (!S_ISSOCK(info.st_mode)) {
    return failure(std::errc::file_exists, path + ": is there and is no socket; remove it, or use --socket PATH");
  }
  sockaddr_un address{};
  if (!make_address(path, address)) return system_failure(ENAMETOOLONG, path, "connect");
  const ipc::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return system_failure(errno, path, "socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return taken(path);
  // Only ECONNREFUSED says that nobody listens; EAGAIN is a full backlog, EACCES somebody else's socket.
  if (errno == ECONNREFUSED || errno == ENOENT) return {};
  if (errno == EAGAIN) return taken(path);
  return system_failure(errno, path, "connect");
}

/// A socket has the group of who made it, or of its directory: as a rule the right one, and nothing has to be done that
/// the service may not do (its unit forbids chown).
bool give_to_group(const std::string& path, std::optional<gid_t> group) {
  if (!group) return true;
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && info.st_gid == *group) return true;
  return ::chown(path.c_str(), static_cast<uid_t>(-1), *group) == 0;
}

/// A socket that listens under a name of its own and is renamed when everything about it is right.
Outcome<ipc::Fd> listen_at(const ControlListener::Place& place) {
  const std::string fresh = place.path + kNewSuffix;
  sockaddr_un address{};
  if (!make_address(fresh, address)) {
    return failure(std::errc::filename_too_long, place.path + ": too long for a socket's path; use --socket PATH");
  }
  ipc::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return system_failure(errno, place.path, "socket");
  // Linux gives the path the mode of the socket's inode: nobody else can come in at any moment, and no process-wide
  // umask is touched.
  if (::fchmod(socket.get(), 0600) != 0) return system_failure(errno, place.path, "chmod");
  ::unlink(fresh.c_str());
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_failure(errno, place.path, "bind");
  }
  const char* failed = nullptr;
  if (!give_to_group(fresh, place.group)) failed = "chown";
  if (failed == nullptr && ::chmod(fresh.c_str(), place.mode) != 0) failed = "chmod";
  if (failed == nullptr && ::listen(socket.get(), kBacklog) != 0) failed = "listen";
  if (failed == nullptr && ::rename(fresh.c_str(), place.path.c_str()) != 0) failed = "rename";
  if (failed == nullptr) return socket;
  const int error = errno;
  ::unlink(fresh.c_str());
  return system_failure(error, place.path, failed);
}

}  // namespace

ControlListener::ControlListener(ipc::Fd socket, ipc::Fd lock, std::string path)
    : socket_(std::move(socket)), lock_(std::move(lock)), path_(std::move(path)) {
  // No method takes one.
  if (socket_ && !ipc::refuse_fds(socket_.get())) {
    spdlog::info("this kernel (before 6.16) cannot refuse descriptors that clients send: one may take long to close");
  }
  struct stat info {};
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0) {
    device_ = info.st_dev;
    inode_ = info.st_ino;
  }
}

ControlListener::~ControlListener() {
  if (!socket_ || path_.empty()) return;
  struct stat info {};
  const bool ours = ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
  if (ours) ::unlink(path_.c_str());
}

Outcome<ControlListener> ControlListener::bind(const Place& place) {
  if (auto made = make_directory(place.path, place.mode); !made) return made.failure();
  auto lock = take_lock(place.path);
  if (!lock) return lock.failure();
  if (auto checked = check_place(place.path); !checked) return checked.failure();
  auto socket = listen_at(place);
  if (!socket) return socket.failure();
  return ControlListener(std::move(*socket), std::move(*lock), place.path);
}

Outcome<std::optional<ControlListener>> ControlListener::from_systemd() {
  const int count = ::sd_listen_fds(/*unset_environment=*/1);
  if (count < 0) return system_failure(-count, "LISTEN_FDS", "sd_listen_fds");
  if (count == 0) return std::optional<ControlListener>{};
  if (count > 1) {
    return invalid("systemd passed " + std::to_string(count) + " sockets; the socket unit must have one ListenStream=");
  }
  ipc::Fd socket(SD_LISTEN_FDS_START);
  if (::sd_is_socket_unix(socket.get(), SOCK_STREAM, 1, nullptr, 0) <= 0) {
    return invalid("systemd passed something else than a listening Unix stream socket");
  }
  if (auto set = ipc::set_nonblocking(socket.get()); !set) {
    return Failure{set.error(), "the socket that systemd passed: " + set.error().message()};
  }
  return std::optional<ControlListener>(ControlListener(std::move(socket), ipc::Fd(), {}));
}

}  // namespace connd::daemon
