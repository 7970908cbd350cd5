// SPDX-License-Identifier: GPL-3.0-or-later
#include <catch2/catch.hpp>

#include "ipc/api_admin.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

constexpr const char* kOther = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

ipc::Json identity() {
  ipc::IdentityResult result;
  result.device = kPeer;
  result.account = kAccount;
  result.account_key = true;
  return ipc::write_members(result);
}

ipc::Json snapshot() {
  return ipc::write_members(ipc::Snapshot{});
}

/// Runs `arguments`, answers one call of `method` with `result`; the exit code must be 0.
std::string output_of(std::vector<std::string> arguments, const std::string& method, const ipc::Json& result,
                      const ipc::Json& params = ipc::Json::object()) {
  PlayedDaemon daemon;
  arguments.insert(arguments.begin(), {"--socket", daemon.path()});
  Program program(arguments);
  daemon.greet();
  const auto request = daemon.expect(method);
  CHECK(request.params == params);
  daemon.reply(request, result);
  CHECK(program.wait() == 0);
  return program.output();
}

}  // namespace

TEST_CASE("id: the device id alone on the first line") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "id"});
  daemon.greet();
  daemon.reply(daemon.expect("events.subscribe"), snapshot());
  daemon.reply(daemon.expect("identity.show"), identity());
  CHECK(program.wait() == 0);
  CHECK(program.output() == std::string(kPeer) + "\n");
}

TEST_CASE("id: waits until the daemon has made its keys") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "id", "-v"});
  daemon.greet();
  daemon.reply(daemon.expect("events.subscribe"), snapshot());
  daemon.fail(daemon.expect("identity.show"), ipc::Reason::kNotReady);
  program.wait_for_error("waiting");
  daemon.notify("event", {{"seq", 1}, {"type", "network.state"}, {"time", 1.5}, {"network", "connected"}});
  daemon.notify("event", {{"seq", 2}, {"type", "identity.ready"}, {"time", 1.5}, {"device", kPeer}});
  daemon.reply(daemon.expect("identity.show"), identity());
  CHECK(program.wait() == 0);
  CHECK(program.output().starts_with(std::string(kPeer) + "\n"));
  CHECK(program.output().find(kAccount) != std::string::npos);
}

TEST_CASE("id --wait: not for ever") {
  for (const char* wait : {"0", "0.01"}) {
    PlayedDaemon daemon;
    Program program({"--socket", daemon.path(), "id", "--wait", wait});
    daemon.greet();
    daemon.reply(daemon.expect("events.subscribe"), snapshot());
    daemon.fail(daemon.expect("identity.show"), ipc::Reason::kNotReady);
    if (std::string(wait) != "0") daemon.fail(daemon.expect("identity.show"), ipc::Reason::kNotReady);
    CHECK(program.wait() == 1);
    CHECK(program.errors().find("(not-ready)") != std::string::npos);
  }
}

TEST_CASE("status: for people, and as it came for programs") {
  ipc::DaemonStatus status;
  status.device = kPeer;
  status.dht.port = 4222;
  status.counts.channels = 3;
  status.limits = {{"max_channels", 100}};
  status.problems = {"the state directory cannot be written"};
  const ipc::Json json = ipc::write_members(status);
  const std::string text = output_of({"status"}, "daemon.status", json);
  CHECK(text.find(kPeer) != std::string::npos);
  CHECK(text.find("UDP port 4222") != std::string::npos);
  CHECK(text.find("3 of 100") != std::string::npos);
  CHECK(text.find("the state directory cannot be written") != std::string::npos);
  CHECK(ipc::Json::parse(output_of({"status", "--json"}, "daemon.status", json)) == json);
}

TEST_CASE("fault F: status: who was turned away, by the whole id, and what lets it in") {
  ipc::DaemonStatus status;
  status.turned_away = {{kPeer, ipc::Reason::kNotPermitted, 3, 125}, {kOther, ipc::Reason::kDeclined, 1, 5}};
  const std::string text = output_of({"status"}, "daemon.status", ipc::write_members(status));
  CHECK(text.find("turned away:") != std::string::npos);
  CHECK(text.find(std::string(" ") + kPeer + ", 3 times, last 2 min 5 s ago: not allowed; to let it in: " +
                  "jami-connctl trust allow " + kPeer + "\n") != std::string::npos);
  CHECK(text.find(std::string(kOther) + ", 5 s ago: declined here, or not answered in time\n") != std::string::npos);
}

TEST_CASE("connections and channels: tables with whole ids, JSON with one object per line") {
  ipc::ConnectionInfo connection;
  connection.connection = 1;
  connection.peer = kPeer;
  connection.rtt_ms = 1.25;
  const ipc::Json connections = {{"connections", {ipc::write_members(connection), ipc::write_members(connection)}}};
  const std::string table = output_of({"connections"}, "connection.list", connections);
  CHECK(table.starts_with("PEER "));
  CHECK(table.find(std::string("\n") + kPeer + "  connecting") != std::string::npos);
  CHECK(output_of({"connections", "--json"}, "connection.list", connections) ==
        ipc::write_members(connection).dump() + "\n" + ipc::write_members(connection).dump() + "\n");

  ipc::ChannelInfo channel;
  channel.channel = 17;
  channel.peer = kPeer;
  channel.uri = std::string("a\0\x1b[2J\xC2\x9B", 8);
  const ipc::Json channels = {{"channels", {ipc::write_members(channel)}}};
  const std::string list = output_of({"channels"}, "channel.list", channels);
  CHECK(list.find("\n17 ") != std::string::npos);
  CHECK(list.find("a\\x00\\x1b[2J\\xc2\\x9b\n") != std::string::npos);
  CHECK(ipc::Json::parse(output_of({"--json", "channels"}, "channel.list", channels))["uri"] == channel.uri);
}

TEST_CASE("close: a number is a channel, the rest a peer") {
  const ipc::Json nothing = ipc::Json::object();
  CHECK(output_of({"close", "17"}, "channel.close", nothing, {{"channel", 17}}).empty());
  const std::string digits(64, '1');
  for (const auto& peer : {std::string("bob"), digits, std::string(40, '2')}) {
    const ipc::Json params = {{"peer", peer}};
    CHECK(output_of({"close", peer, "--json"}, "connection.close", {{"closed", 1}}, params) == "{\"closed\":1}\n");
  }
}

TEST_CASE("version: of both, or of this program alone") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "version"});
  daemon.greet();
  CHECK(program.wait() == 0);
  CHECK(program.output() == "jami-connctl " CONND_VERSION "\njami-connd 9.9, api 1\n");
  Program alone({"--socket", "/nonexistent/control.sock", "version", "--json"});
  CHECK(alone.wait() == 0);
  CHECK(ipc::Json::parse(alone.output()) == ipc::Json{{"jami-connctl", CONND_VERSION}});
}
