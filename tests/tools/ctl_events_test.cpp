// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>

#include <csignal>

#include <catch2/catch.hpp>
#include <sys/ioctl.h>

#include "ipc/api_admin.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

std::string read_line(const Program& program) {
  std::string line;
  while (!line.ends_with('\n')) line += program.read(1);
  return line;
}

}  // namespace

TEST_CASE("events --json: the snapshot, then each event as it came") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "events", "--json"});
  daemon.greet();
  ipc::Snapshot snapshot;
  snapshot.seq = 4;
  daemon.reply(daemon.expect("events.subscribe"), ipc::write_members(snapshot));
  const auto first = ipc::Json::parse(read_line(program));
  CHECK(first["type"] == "snapshot");
  CHECK(first["seq"] == 4);
  const ipc::Json event = {{"seq", 5}, {"type", "network.state"}, {"time", 12.5}, {"network", "connected"}};
  daemon.notify("event", event);
  CHECK(ipc::Json::parse(read_line(program)) == event);
  daemon.notify("events.lost", {{"seq", 9}, {"lost", 4}});
  CHECK(ipc::Json::parse(read_line(program)) == ipc::Json{{"seq", 9}, {"lost", 4}, {"type", "events.lost"}});
  daemon.vanish();
  CHECK(program.wait() == 8);
  CHECK(program.error_is_one_line());
}

TEST_CASE("events: lines for people, until interrupted") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "events"});
  daemon.greet();
  ipc::Snapshot snapshot;
  snapshot.channels.resize(1);
  snapshot.channels[0].channel = 3;
  snapshot.channels[0].uri = "a\nb";
  daemon.reply(daemon.expect("events.subscribe"), ipc::write_members(snapshot));
  CHECK(read_line(program).starts_with("- snapshot "));
  CHECK(read_line(program).find("uri=a\\x0ab") != std::string::npos);
  daemon.notify("event", {{"seq", 5}, {"type", "connection.failed"}, {"time", 12.5}, {"peer", kPeer}});
  CHECK(read_line(program).find(std::string(" connection.failed peer=") + kPeer + "\n") != std::string::npos);
  program.signal(SIGINT);
  CHECK(program.wait() == 130);
}

TEST_CASE("events and call: a terminal obeys nothing of what a peer sent, however deep it stands") {
  const std::string evil =
      "\xC2\x9B"
      "2J\x7F\xE2\x80\xAE";
  const std::string shown = R"(\u009b2J\u007f\u202e)";
  const ipc::Json event = {{"seq", 5}, {"type", "x"}, {"time", 1}, {"deep", {{"list", {evil}}}}};
  for (const bool json : {false, true}) {
    PlayedDaemon daemon;
    Program program({"--socket", daemon.path(), "events", json ? "--json" : "-v"});
    daemon.greet();
    daemon.reply(daemon.expect("events.subscribe"), ipc::write_members(ipc::Snapshot{}));
    static_cast<void>(read_line(program));
    daemon.notify("event", event);
    CHECK(read_line(program).find(R"({"list":[")" + shown + R"("]})") != std::string::npos);
    daemon.vanish();
    CHECK(program.wait() == 8);
  }
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "call", "m"});
  daemon.greet();
  daemon.reply(daemon.expect("m"), {{"a", {evil}}});
  CHECK(program.wait() == 0);
  CHECK(program.output() == R"({"a":[")" + shown + "\"]}\n");
}

TEST_CASE("events: a reader that goes away ends it") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "events"});
  daemon.greet();
  program.out.reset();
  daemon.reply(daemon.expect("events.subscribe"), ipc::write_members(ipc::Snapshot{}));
  daemon.expect_end();
  CHECK(program.wait() == 141);
}

TEST_CASE("events: a signal ends it while nobody reads a full pipe") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "events"});
  daemon.greet();
  daemon.reply(daemon.expect("events.subscribe"), ipc::write_members(ipc::Snapshot{}));
  CHECK(read_line(program).starts_with("- snapshot "));
  REQUIRE(::fcntl(program.out.get(), F_SETPIPE_SZ, 4'096) == 4'096);
  const std::string most(2'500, 'x');  // a second line does not fit
  for (int i = 0; i < 10; ++i) daemon.notify("event", {{"seq", 5}, {"type", "x"}, {"time", 1.5}, {"peer", most}});
  for (int unread = 0; unread == 0;) REQUIRE(::ioctl(program.out.get(), FIONREAD, &unread) == 0);
  program.signal(SIGTERM);
  CHECK(program.end_unread() == 143);
}

TEST_CASE("events: a signal that was ignored before stays so, as under nohup") {
  PlayedDaemon daemon;
  std::signal(SIGHUP, SIG_IGN);
  Program program({"--socket", daemon.path(), "events"});
  std::signal(SIGHUP, SIG_DFL);
  daemon.greet();
  daemon.reply(daemon.expect("events.subscribe"), ipc::write_members(ipc::Snapshot{}));
  CHECK(read_line(program).starts_with("- snapshot "));
  program.signal(SIGHUP);
  daemon.notify("event", {{"seq", 5}, {"type", "still.here"}, {"time", 12.5}});
  CHECK(read_line(program).find("still.here") != std::string::npos);
  program.signal(SIGTERM);
  CHECK(program.wait() == 143);
}

TEST_CASE("call: any method, its result as one line") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "call", "no.such", "{\"a\":[1]}"});
  daemon.greet();
  const auto request = daemon.expect("no.such");
  CHECK(request.params == ipc::Json{{"a", {1}}});
  daemon.reply(request, {{"b", 2}});
  CHECK(program.wait() == 0);
  CHECK(program.output() == "{\"b\":2}\n");
}

TEST_CASE("call: an error") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "call", "no.such"});
  daemon.greet();
  const auto request = daemon.expect("no.such");
  CHECK(request.params == ipc::Json::object());
  daemon.fail(request, ipc::Reason::kInvalidArgument);
  CHECK(program.wait() == 2);
}
