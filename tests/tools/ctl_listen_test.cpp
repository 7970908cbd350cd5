// SPDX-License-Identifier: GPL-3.0-or-later
#include <csignal>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/ipc/socket_pair.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

TEST_CASE("listen: a final * is a prefix, unless --exact") {
  struct Row {
    std::vector<std::string> arguments;
    const char* uri;
    bool prefix;
    ipc::Json peers;
  };
  for (const Row& row : {Row{{"echo*"}, "echo", true, "allowed"}, Row{{"*"}, "", true, "allowed"},
                         Row{{"echo*", "--exact", "--peers", "any"}, "echo*", false, "any"},
                         Row{{"echo", "--peers", "bob,carol"}, "echo", false, ipc::Json::array({"bob", "carol"})}}) {
    PlayedDaemon daemon;
    std::vector<std::string> arguments = {"--socket", daemon.path(), "listen"};
    arguments.insert(arguments.end(), row.arguments.begin(), row.arguments.end());
    Program program(arguments);
    daemon.greet();
    const auto add = daemon.expect("listen.add");
    CHECK(add.params["uri"] == row.uri);
    CHECK(add.params["prefix"] == row.prefix);
    CHECK(add.params["peers"] == row.peers);
    daemon.fail(add, ipc::Reason::kBusy, "uid 1000");
    CHECK(program.wait() == 5);
    CHECK(program.error_is_one_line());
  }
}

TEST_CASE("listen --once: one channel on stdin and stdout, others are declined") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "listen", "x", "--once"});
  daemon.take_listener();
  program.wait_for_error("listening for x");
  const ipc::Fd peer = daemon.offer(1, "x");
  CHECK(daemon.expect("listen.remove").params["listener"] == 3);
  write_all(peer.get(), "in");
  ::shutdown(peer.get(), SHUT_WR);
  CHECK(program.read(2) == "in");
  program.in.reset();
  daemon.finish(1);
  daemon.tell_end(1, "closed");
  CHECK(program.wait() == 0);
}

TEST_CASE("listen --once has the channel's exit code") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "listen", "x", "--once"});
  daemon.take_listener();
  ipc::Fd peer = daemon.offer(1, "x");
  static_cast<void>(daemon.expect("listen.remove"));
  peer.reset();
  daemon.tell_end(1, "stalled");
  CHECK(program.wait() == 8);
  CHECK(program.errors().find("(stalled)") != std::string::npos);
}

TEST_CASE("listen --once: a peer that gives up before it is accepted does not count") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "listen", "x", "--once"});
  daemon.take_listener();
  daemon.ask(1, "x");
  daemon.fail(daemon.expect("channel.accept"), ipc::Reason::kCancelled);
  ipc::Fd peer = daemon.offer(2, "x");
  static_cast<void>(daemon.expect("listen.remove"));
  peer.reset();
  program.in.reset();
  daemon.finish(2);
  daemon.tell_end(2, "closed");
  CHECK(program.wait() == 0);
}

TEST_CASE("listen: one channel after the other, a second one meanwhile is declined in words") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "listen", "*"});
  daemon.take_listener();
  ipc::Fd first = daemon.offer(1, "a");
  daemon.ask(2, "b");
  const auto decline = daemon.expect("channel.decline");
  CHECK(decline.params["request"] == 2);
  CHECK(decline.params["reason"].get<std::string>().starts_with("busy"));
  daemon.reply(decline, ipc::Json::object());
  write_all(first.get(), "1");
  first.reset();
  program.in.reset();
  daemon.finish(1);
  daemon.tell_end(1, "closed");
  CHECK(program.read(1) == "1");
  // Its end and the next request come in one stream: it may have to be asked until the first is put away.
  ipc::Fd second;
  for (std::uint64_t request = 3; !second; ++request) {
    daemon.ask(request, "c");
    auto answer = daemon.expect_any();
    if (answer.method == "channel.accept") {
      auto ends = socket_pair();
      second = std::move(ends.first);
      daemon.reply(answer, {{"channel", 9}, {"device", kPeer}, {"account", kAccount}, {"half_close", true}},
                   std::move(ends.second));
    } else {
      daemon.reply(answer, ipc::Json::object());
    }
  }
  daemon.finish(9);  // stdin had ended before
  write_all(second.get(), "2");
  CHECK(program.read(1) == "2");
  program.signal(SIGTERM);
  daemon.close(9);
  CHECK(program.wait() == 143);
}

TEST_CASE("listen: the daemon's death ends it") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "listen", "x"});
  daemon.take_listener();
  program.wait_for_error("listening for x");
  daemon.vanish();
  CHECK(program.wait() == 8);
}

TEST_CASE("listen: a name that is not UTF-8 is told as 'open' tells it") {
  const std::string name = "caf\xE9";
  std::vector<std::string> words;
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"open", "bob", name}, {"listen", name}, {"listen", name + "*"}}) {
    PlayedDaemon daemon;
    std::vector<std::string> arguments = {"--socket", daemon.path()};
    arguments.insert(arguments.end(), verb.begin(), verb.end());
    Program program(arguments);
    daemon.greet();
    daemon.expect_end();
    CHECK(program.wait() == 1);
    CHECK(program.error_is_one_line());
    words.push_back(program.errors().substr(program.errors().find(verb[0] + ": ") + verb[0].size()));
    CHECK(words.back() == words.front());
  }
  CHECK(words.front().find("(bad-name)") != std::string::npos);
}
