// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/control_listener.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/daemon/temp_dir.h"

using namespace connd;
using namespace connd::daemon;
using connd::test::mode_of;
using connd::test::TempDir;

namespace {

/// The mode that a socket had when it got its last one; 0: none was given a mode.
mode_t mode_at_birth = 0;
/// How often a path was given another owner or group.
int chowns = 0;
/// As under the service's unit: EPERM, also for root.
bool chown_forbidden = false;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}
bool can_connect(const std::string& path) {
  const ipc::Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr_un address = address_of(path);
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}
bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

}  // namespace

/// In the place of libc's, to look at the socket between bind and the mode that it is to have.
extern "C" int chmod(const char* path, mode_t mode) noexcept {
  struct stat info {};
  if (::lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) mode_at_birth = info.st_mode & 07777;
  return ::fchmodat(AT_FDCWD, path, mode, 0);
}

extern "C" int chown(const char* path, uid_t owner, gid_t group) noexcept {
  ++chowns;
  if (!chown_forbidden) return ::fchownat(AT_FDCWD, path, owner, group, 0);
  errno = EPERM;
  return -1;
}

TEST_CASE("fault E0: a socket that has its group from the start needs no chown") {
  const TempDir dir;
  const std::string path = dir.file("run/control.sock");
  chowns = 0;
  chown_forbidden = true;
  REQUIRE(ControlListener::bind({path, 0660, ::getegid()}).ok());
  CHECK(chowns == 0);
  const auto other = ControlListener::bind({path, 0660, ::getegid() + 1});
  chown_forbidden = false;
  REQUIRE_FALSE(other.ok());
  CHECK(chowns == 1);
  CHECK(other.failure().text.find("chown") != std::string::npos);
  CHECK_FALSE(exists(path));
  CHECK_FALSE(exists(path + ".new"));
}

TEST_CASE("nobody else can come in before the socket has its mode, whatever the umask") {
  const TempDir dir;
  const std::string path = dir.file("run/control.sock");
  const mode_t before = ::umask(0);
  mode_at_birth = 0;
  const auto listener = ControlListener::bind({path, 0660, std::nullopt});
  ::umask(before);
  REQUIRE(listener.ok());
  CHECK(mode_at_birth == 0600);
  CHECK((mode_of(path) & 0777) == 0660);
}

TEST_CASE("the socket appears with its mode, also under a strange umask, and goes with its owner") {
  const TempDir dir;
  const std::string path = dir.file("run/control.sock");
  const mode_t mode = GENERATE(0600, 0660);
  const mode_t before = ::umask(0077);
  {
    auto listener = ControlListener::bind({path, mode, std::nullopt});
    ::umask(before);
    REQUIRE(listener.ok());
    CHECK((mode_of(path) & 0777) == mode);
    CHECK((mode_of(dir.file("run")) & 0077) == 0);
    CHECK(can_connect(path));
    CHECK((::fcntl(listener->fd(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_FALSE(exists(path + ".new"));
  }
  CHECK_FALSE(exists(path));
}

TEST_CASE("the socket's group is set") {
  if (::geteuid() != 0) return;
  const TempDir dir;
  auto listener = ControlListener::bind({dir.file("s"), 0660, 12'345});
  REQUIRE(listener.ok());
  struct stat info {};
  REQUIRE(::lstat(dir.file("s").c_str(), &info) == 0);
  CHECK(info.st_gid == 12'345);
}

TEST_CASE("a live daemon's socket is not taken, whoever has it") {
  const TempDir dir;
  const std::string path = dir.file("s");
  auto first = ControlListener::bind({path, 0600, std::nullopt});
  REQUIRE(first.ok());
  const auto second = ControlListener::bind({path, 0600, std::nullopt});
  REQUIRE_FALSE(second.ok());
  CHECK(second.failure().code == std::errc::address_in_use);
  CHECK(second.failure().text.find("another jami-connd answers on " + path) == 0);
  CHECK(can_connect(path));

  // One that has no lock file, such as systemd's.
  const std::string other = dir.file("other");
  const ipc::Fd foreign(::socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr_un address = address_of(other);
  REQUIRE(::bind(foreign.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(foreign.get(), 1) == 0);
  const auto third = ControlListener::bind({other, 0600, std::nullopt});
  REQUIRE_FALSE(third.ok());
  CHECK(third.failure().code == std::errc::address_in_use);
}

TEST_CASE("what a dead daemon left is replaced") {
  const TempDir dir;
  const std::string path = dir.file("s");
  {
    const ipc::Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = address_of(path);
    REQUIRE(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(dead.get(), 1) == 0);
  }
  REQUIRE(exists(path));
  REQUIRE_FALSE(can_connect(path));
  auto listener = ControlListener::bind({path, 0600, std::nullopt});
  REQUIRE(listener.ok());
  CHECK(can_connect(path));
}

TEST_CASE("a path that another has taken meanwhile stays") {
  const TempDir dir;
  const std::string path = dir.file("s");
  {
    auto listener = ControlListener::bind({path, 0600, std::nullopt});
    REQUIRE(listener.ok());
    REQUIRE(::unlink(path.c_str()) == 0);
    test::write_file(path, "not yours");
  }
  CHECK(exists(path));
}

TEST_CASE("what is no socket, or does not fit, is refused with words") {
  const TempDir dir;
  test::write_file(dir.file("file"), "precious");
  const auto file = ControlListener::bind({dir.file("file"), 0600, std::nullopt});
  REQUIRE_FALSE(file.ok());
  CHECK(file.failure().text.find("no socket") != std::string::npos);
  CHECK(test::read_file(dir.file("file")) == "precious");

  const auto longer = ControlListener::bind({dir.file(std::string(108, 'x')), 0600, std::nullopt});
  REQUIRE_FALSE(longer.ok());
  CHECK(longer.failure().text.find("too long") != std::string::npos);

  const auto nowhere = ControlListener::bind({dir.file("a/b/c"), 0600, std::nullopt});
  CHECK_FALSE(nowhere.ok());
}

namespace {

/// Runs `check` in a child whose fd 3 is `socket`, as systemd starts a service.
bool activated(int socket, const char* count, bool (*check)()) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (socket >= 0) ::dup2(socket, 3);
    if (count != nullptr) ::setenv("LISTEN_FDS", count, 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::_exit(check() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("a socket of systemd's is used, and its path left alone") {
  const TempDir dir;
  const std::string path = dir.file("s");
  const ipc::Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr_un address = address_of(path);
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(socket.get(), 1) == 0);
  CHECK(activated(socket.get(), "1", [] {
    const auto listener = ControlListener::from_systemd();
    return listener.ok() && listener->has_value() && (*listener)->path().empty() && (*listener)->fd() == 3 &&
           (::fcntl(3, F_GETFL) & O_NONBLOCK) != 0 && std::getenv("LISTEN_FDS") == nullptr;
  }));
  CHECK(exists(path));
  CHECK(activated(-1, nullptr, [] {
    const auto listener = ControlListener::from_systemd();
    return listener.ok() && !listener->has_value();
  }));
  const ipc::Fd wrong(::socket(AF_UNIX, SOCK_DGRAM, 0));
  CHECK(activated(wrong.get(), "1", [] { return !ControlListener::from_systemd().ok(); }));
  CHECK(activated(socket.get(), "2", [] { return !ControlListener::from_systemd().ok(); }));
}
