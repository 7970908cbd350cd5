// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/exec_channels.h"

#include <fcntl.h>

#include <csignal>
#include <cstdio>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/ipc/socket_pair.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

std::vector<std::string> exec_arguments(const PlayedDaemon& daemon, std::vector<std::string> command) {
  std::vector<std::string> arguments = {"--socket", daemon.path(), "listen", "*", "--once", "--exec"};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

/// A channel to the one program of `listen --once --exec`.
ipc::Fd start(PlayedDaemon& daemon, const std::string& uri) {
  daemon.take_listener();
  ipc::Fd peer = daemon.offer(1, uri);
  static_cast<void>(daemon.expect("listen.remove"));
  return peer;
}

ipc::Json next_line(const Program& program) {
  std::string line;
  while (!line.ends_with('\n')) line += program.read(1);
  return ipc::Json::parse(line);
}

/// Descriptors above 2 that whoever runs this test lets every program have.
unsigned long inherited_fds() {
  unsigned long count = 0;
  for (int fd = 3; fd < 1024; ++fd) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("exec: children are heard of, also where whoever started us ignores SIGCHLD") {
  PlayedDaemon daemon;
  std::signal(SIGCHLD, SIG_IGN);
  Program program(exec_arguments(daemon, {"true"}));
  std::signal(SIGCHLD, SIG_DFL);
  const ipc::Fd peer = start(daemon, "x");
  daemon.finish(1);
  daemon.tell_end(1, "closed");
  CHECK(program.wait() == 0);
}

TEST_CASE("exec cat: an echo that ends when the peer does") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"cat"}));
  const ipc::Fd peer = start(daemon, "echo1");
  write_all(peer.get(), "hello");
  ::shutdown(peer.get(), SHUT_WR);
  daemon.finish(1);
  std::string echo(5, '\0');
  CHECK(::recv(peer.get(), echo.data(), echo.size(), MSG_WAITALL) == 5);
  CHECK(echo == "hello");
  // Our copy of the fd is held until the end is told: no EOF before.
  CHECK(::recv(peer.get(), echo.data(), echo.size(), MSG_DONTWAIT) < 0);
  daemon.tell_end(1, "closed");
  CHECK(program.wait() == 0);
}

TEST_CASE("fault F00: exec: a session that the other side leaves is not told as data that is lost") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"cat"}));
  const ipc::Fd peer = start(daemon, "ssh");
  daemon.tell_end(1, "reset");
  ::shutdown(peer.get(), SHUT_RDWR);
  CHECK(program.wait() == 8);
  CHECK(program.errors().find("channel ssh: the other side ended it before cat did (reset)") != std::string::npos);
  CHECK(program.errors().find("a session that is left ends so") != std::string::npos);
  CHECK(program.errors().find("try again") == std::string::npos);
}

TEST_CASE("exec: options of the program are its own; it knows peer and name") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"sh", "-c", "echo \"$0 $1 $JAMI_PEER $JAMI_URI\"", "-v", "--json"}));
  const ipc::Fd peer = start(daemon, "git://a b");
  daemon.finish(1);
  ::shutdown(peer.get(), SHUT_WR);
  daemon.tell_end(1, "closed");
  CHECK(program.wait() == 0);
  CHECK(read_all(peer.get()) == std::string("-v --json ") + kPeer + " git://a b\n");
}

TEST_CASE("exec: a program that fails, or is killed, resets the channel") {
  for (const char* script : {"exit 3", "kill -9 $$"}) {
    PlayedDaemon daemon;
    Program program(exec_arguments(daemon, {"sh", "-c", script}));
    const ipc::Fd peer = start(daemon, "x");
    daemon.close(1);
    CHECK(program.wait() == 1);
    CHECK(program.errors().find("sh ") != std::string::npos);
  }
}

TEST_CASE("exec: data that nobody read is no clean end") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"sh", "-c", "read line; exit 0"}));
  const ipc::Fd peer = start(daemon, "x");
  write_all(peer.get(), "line\nmore");
  daemon.close(1);
  CHECK(program.wait() == 1);
  CHECK(program.errors().find("unread") != std::string::npos);
}

TEST_CASE("exec: data that comes after the program's end is no clean end either") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"true"}));
  const ipc::Fd peer = start(daemon, "x");
  daemon.finish(1);
  write_all(peer.get(), "late");
  daemon.close(1);
  CHECK(program.wait() == 1);
}

TEST_CASE("exec: a channel that breaks is told to its program by SIGHUP") {
  PlayedDaemon daemon;
  Program program(exec_arguments(
      daemon, {"sh", "-c", "trap 'echo got hup >&2; exit 1' HUP; echo up; while :; do sleep 0.01; done"}));
  ipc::Fd peer = start(daemon, "x");
  std::string up(3, '\0');
  REQUIRE(::recv(peer.get(), up.data(), up.size(), MSG_WAITALL) == 3);
  peer.reset();
  daemon.tell_end(1, "connection-lost");
  CHECK(program.wait() == 8);
  CHECK(program.errors().find("got hup") != std::string::npos);
}

TEST_CASE(
    "exec: a program that fails because its channel has broken is not why: the daemon's word says, when it comes") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"sh", "-c", "echo $$; read line; exit 3"}));
  ipc::Fd peer = start(daemon, "x");
  std::string pid;
  while (!pid.ends_with('\n')) {
    char byte = 0;
    REQUIRE(::recv(peer.get(), &byte, 1, 0) == 1);
    pid += byte;
  }
  peer.reset();
  while (::kill(std::stoi(pid), 0) == 0) std::this_thread::yield();
  // It hears of the program's end before the channel's, and asks the daemon for nothing that comes too late.
  for (std::uint64_t request = 5; request < 50; ++request) {
    daemon.ask(request, "one more");
    daemon.reply(daemon.expect("channel.decline"), ipc::Json::object());
  }
  daemon.tell_end(1, "connection-lost");
  CHECK(program.wait() == 8);
  CHECK(program.errors().find("reset") == std::string::npos);
}

TEST_CASE("exec: programs have no signal blocked or ignored, and only their channel") {
  PlayedDaemon daemon;
  Program program(
      exec_arguments(daemon, {"sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l"}));
  const ipc::Fd peer = start(daemon, "x");
  daemon.finish(1);
  ::shutdown(peer.get(), SHUT_WR);
  daemon.tell_end(1, "closed");
  CHECK(program.wait() == 0);
  const std::string seen = read_all(peer.get());
  INFO(seen);
  unsigned long long blocked = 1;
  unsigned long long ignored = 0;
  unsigned long fds = 0;
  REQUIRE(std::sscanf(seen.c_str(), "SigBlk: %llx SigIgn: %llx %lu", &blocked, &ignored, &fds) == 3);
  CHECK(blocked == 0);
  constexpr unsigned long long kOrdinary = 0x7FFFFFFF;  // signals 1 to 31; whoever runs us may ignore others
  CHECK((ignored & kOrdinary) == 0);
  CHECK(fds == 4 + inherited_fds());  // 0, 1, 2, and the directory that ls reads
}

TEST_CASE("exec: no such program is told before anything is asked") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"/nonexistent/program"}));
  CHECK(program.wait() == 1);
  CHECK(program.error_is_one_line());
}

TEST_CASE("exec: a name with a NUL is declined") {
  PlayedDaemon daemon;
  Program program(exec_arguments(daemon, {"cat"}));
  daemon.take_listener();
  daemon.ask(5, std::string("a\0b", 3));
  CHECK(daemon.expect("channel.decline").params["request"] == 5);
}

TEST_CASE("exec: many programs at once, and a bound") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "--json", "listen", "*", "--exec", "cat"});
  daemon.take_listener();
  CHECK(next_line(program)["type"] == "listening");
  std::vector<ipc::Fd> peers;
  for (std::uint64_t handle = 1; handle <= tools::kMaxPrograms; ++handle) {
    peers.push_back(daemon.offer(handle, "echo" + std::to_string(handle)));
    CHECK(next_line(program)["type"] == "channel.opened");
  }
  daemon.ask(1000, "one more");
  const auto decline = daemon.expect("channel.decline");
  CHECK(decline.params["reason"].get<std::string>().starts_with("busy"));
  daemon.reply(decline, ipc::Json::object());
  std::size_t right = 0;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const std::string text = "to " + std::to_string(i);
    write_all(peers[i].get(), text);
    std::string echo(text.size(), '\0');
    if (::recv(peers[i].get(), echo.data(), echo.size(), MSG_WAITALL) > 0 && echo == text) ++right;
  }
  CHECK(right == tools::kMaxPrograms);
  for (const auto& peer : peers) ::shutdown(peer.get(), SHUT_WR);
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const auto finish = daemon.expect("channel.finish");
    daemon.reply(finish, ipc::Json::object());
    daemon.tell_end(finish.params["channel"], "closed");
    CHECK(next_line(program)["type"] == "channel.closed");  // its place is free again
  }
  const ipc::Fd again = daemon.offer(5000, "again");
  program.signal(SIGINT);
  daemon.close(5000);
  CHECK(program.wait() == 130);
}
