// SPDX-License-Identifier: GPL-3.0-or-later
#include <csignal>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/ipc/socket_pair.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

std::vector<std::string> open_arguments(const PlayedDaemon& daemon, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"--socket", daemon.path(), "open", "bob", "echo1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string receive(const ipc::Fd& fd, std::size_t size) {
  std::string text(size, '\0');
  REQUIRE(::recv(fd.get(), text.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
  return text;
}

}  // namespace

TEST_CASE("open: stdin's end is a finish, and the peer may still answer") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  ipc::Fd peer = daemon.open_channel();
  program.write("question");
  CHECK(receive(peer, 8) == "question");
  program.in.reset();
  daemon.finish(7);
  write_all(peer.get(), "answer");
  CHECK(program.read(6) == "answer");
  ::shutdown(peer.get(), SHUT_WR);
  daemon.tell_end(7, "closed");
  CHECK(program.wait() == 0);
  CHECK(program.output().empty());
  CHECK(program.errors().empty());
}

TEST_CASE("open: the peer may end first") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  ipc::Fd peer = daemon.open_channel();
  write_all(peer.get(), "all");
  ::shutdown(peer.get(), SHUT_WR);
  CHECK(program.read(3) == "all");
  program.write("then ours");
  CHECK(receive(peer, 9) == "then ours");
  program.in.reset();
  daemon.finish(7);
  daemon.tell_end(7, "closed");
  CHECK(program.wait() == 0);
}

TEST_CASE("open: on one socket for stdin and stdout, as of inetd, each direction ends by itself") {
  PlayedDaemon daemon;
  auto [ours, theirs] = socket_pair();
  Program program(open_arguments(daemon), {theirs.get(), theirs.get()});
  theirs.reset();
  ipc::Fd peer = daemon.open_channel();
  write_all(peer.get(), "all");
  ::shutdown(peer.get(), SHUT_WR);
  CHECK(read_all(ours.get()) == "all");
  write_all(ours.get(), "then ours");
  CHECK(receive(peer, 9) == "then ours");
  ::shutdown(ours.get(), SHUT_WR);
  daemon.finish(7);
  daemon.tell_end(7, "closed");
  CHECK(program.wait() == 0);
}

TEST_CASE("open: what came before the end is written, however the end was told first") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  ipc::Fd peer = daemon.open_channel();
  program.in.reset();
  daemon.finish(7);
  write_all(peer.get(), std::string(100'000, 'x'));
  daemon.tell_end(7, "closed");
  peer.reset();
  CHECK(program.wait() == 0);
  CHECK(program.output() == std::string(100'000, 'x'));
}

TEST_CASE("open: an EOF whose end is not clean is exit code 8") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  ipc::Fd peer = daemon.open_channel();
  write_all(peer.get(), "half of it");
  peer.reset();
  daemon.tell_end(7, "reset");
  CHECK(program.wait() == 8);
  CHECK(program.output() == "half of it");
  CHECK(program.error_is_one_line());
  CHECK(program.errors().find("open: the other side aborted (reset)") != std::string::npos);
}

TEST_CASE("open: ends with the end, not with stdin") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  ipc::Fd peer = daemon.open_channel();
  peer.reset();
  daemon.tell_end(7, "connection-lost");
  const ipc::Fd held = std::move(program.in);  // still open when it ends
  CHECK(program.wait() == 8);
}

TEST_CASE("open: the daemon's death is exit code 8") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  ipc::Fd peer = daemon.open_channel();
  program.in.reset();
  daemon.finish(7);
  ::shutdown(peer.get(), SHUT_WR);
  daemon.vanish();
  CHECK(program.wait() == 8);
  CHECK(program.errors().find("(connection-lost)") != std::string::npos);
}

TEST_CASE("open: refusals have the exit codes of their reasons, and advice") {
  struct Row {
    ipc::Reason reason;
    int code;
    const char* advice;
  };
  for (const Row& row :
       {Row{ipc::Reason::kNoListener, 5, "jami-connctl listen 'echo1'"},
        Row{ipc::Reason::kDeclined, 5, "(declined): because"}, Row{ipc::Reason::kNotFound, 4, "jami-connctl id"},
        Row{ipc::Reason::kBanned, 6, "jami-connctl trust unset"}, Row{ipc::Reason::kTimedOut, 7, "--timeout"},
        Row{ipc::Reason::kNotReady, 1, "status"}}) {
    PlayedDaemon daemon;
    Program program(open_arguments(daemon, {"--timeout", "2", "--unique"}));
    daemon.greet();
    const auto request = daemon.expect("channel.open");
    CHECK(request.params["timeout"] == 2);
    CHECK(request.params["unique"] == true);
    daemon.fail(request, row.reason, "because");
    CHECK(program.wait() == row.code);
    CHECK(program.error_is_one_line());
    CHECK(program.errors().find(row.advice) != std::string::npos);
  }
}

TEST_CASE("open: a reader that goes away aborts the channel, silently, with 141") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  ipc::Fd peer = daemon.open_channel();
  write_all(peer.get(), "first");
  CHECK(program.read(5) == "first");
  program.out.reset();
  (void)::send(peer.get(), "second", 6, MSG_NOSIGNAL);  // it may have seen already that nobody reads
  daemon.close(7);
  CHECK(program.wait() == 141);
  CHECK(program.errors().empty());
}

TEST_CASE("open: a signal aborts the channel") {
  for (const int signal : {SIGINT, SIGTERM}) {
    PlayedDaemon daemon;
    Program program(open_arguments(daemon));
    ipc::Fd peer = daemon.open_channel();
    write_all(peer.get(), "x");
    CHECK(program.read(1) == "x");
    program.signal(signal);
    daemon.close(7);
    CHECK(program.wait() == 128 + signal);
  }
}

TEST_CASE("open: a signal while the open is pending") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon));
  daemon.greet();
  static_cast<void>(daemon.expect("channel.open"));
  program.signal(SIGINT);
  daemon.expect_end();
  CHECK(program.wait() == 130);
}

TEST_CASE("open -q: a peer that does not end in time is exit code 7, and sees a reset") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon, {"-q", "0.05"}));
  ipc::Fd peer = daemon.open_channel();
  write_all(peer.get(), "hello");
  program.in.reset();
  daemon.finish(7);
  daemon.close(7);
  CHECK(program.wait() == 7);
  CHECK(program.output() == "hello");
  CHECK(program.errors().find("-q") != std::string::npos);
}

TEST_CASE("open -q: a peer that ends in time is exit code 0") {
  PlayedDaemon daemon;
  Program program(open_arguments(daemon, {"-q", "30"}));
  ipc::Fd peer = daemon.open_channel();
  program.in.reset();
  daemon.finish(7);
  ::shutdown(peer.get(), SHUT_WR);
  daemon.tell_end(7, "closed");
  CHECK(program.wait() == 0);
}
