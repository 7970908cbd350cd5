// SPDX-License-Identifier: GPL-3.0-or-later
// The verbs requests, accept and decline.
#include <csignal>

#include <catch2/catch.hpp>

#include "ipc/api_admin.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

constexpr const char* kSecond = "00112233ffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

ipc::Json status_with(ipc::IceRequestPolicy policy) {
  ipc::DaemonStatus out;
  out.ice_request = policy;
  return ipc::write_members(out);
}

/// Two requests of kPeer, one of kSecond.
ipc::Json two_waiting() {
  ipc::ConnectionRequestsResult out;
  out.registered = true;
  out.requests = {{7, kPeer, "", 2, 8}, {8, kSecond, "", 1, 9}, {9, kPeer, "", 0.5, 9.5}};
  return ipc::write_members(out);
}

struct AskedCtl {
  PlayedDaemon daemon;
  Program program;
  explicit AskedCtl(std::vector<std::string> words) : program(with_socket(daemon, std::move(words))) { daemon.greet(); }
  static std::vector<std::string> with_socket(const PlayedDaemon& daemon, std::vector<std::string> words) {
    words.insert(words.begin(), {"--socket", daemon.path()});
    return words;
  }
};

}  // namespace

TEST_CASE("fault F: requests: each that waits, with the line that answers it") {
  AskedCtl asked({"requests"});
  asked.daemon.reply(asked.daemon.expect("daemon.status"), status_with(ipc::IceRequestPolicy::kAsk));
  asked.daemon.reply(asked.daemon.expect("connection.requests"), two_waiting());
  CHECK(asked.program.wait() == 0);
  CHECK(asked.program.output().find(std::string(kPeer) + ", for 2 s, 8 s left: jami-connctl accept " + kPeer + "\n") ==
        0);
  CHECK(asked.program.output().find(std::string("\n") + kSecond + ", ") != std::string::npos);
}

TEST_CASE("fault F: requests: where nobody is asked, it says so") {
  AskedCtl trusted({"requests"});
  trusted.daemon.reply(trusted.daemon.expect("daemon.status"), status_with(ipc::IceRequestPolicy::kTrusted));
  CHECK(trusted.program.wait() == 0);
  CHECK(trusted.program.errors().find("--ice-request trusted, and asks nobody") != std::string::npos);
  AskedCtl alone({"requests"});
  alone.daemon.reply(alone.daemon.expect("daemon.status"), status_with(ipc::IceRequestPolicy::kAsk));
  alone.daemon.reply(alone.daemon.expect("connection.requests"), ipc::write_members(ipc::ConnectionRequestsResult{}));
  CHECK(alone.program.wait() == 0);
  CHECK(alone.program.errors().find("'jami-connctl requests --watch' is one") != std::string::npos);
}

TEST_CASE("fault F: requests --watch: is the one that is asked, and prints each as it comes") {
  AskedCtl asked({"requests", "--watch"});
  asked.daemon.reply(asked.daemon.expect("daemon.status"), status_with(ipc::IceRequestPolicy::kAsk));
  asked.daemon.reply(asked.daemon.expect("policy.register"), ipc::Json::object());
  asked.program.wait_for_error("waiting for requests");
  asked.daemon.notify("connection.request", {{"request", 7}, {"peer", kPeer}, {"account", ""}, {"trust", "unknown"}});
  const std::string line = std::string(kPeer) + " asks to connect: jami-connctl accept " + kPeer + "\n";
  CHECK(asked.program.read(line.size()) == line);
  asked.program.signal(SIGINT);
  CHECK(asked.program.wait() == 130);
}

TEST_CASE("fault F: accept and decline: all that one device has asked, by its first digits") {
  for (const bool accept : {true, false}) {
    AskedCtl asked({accept ? "accept" : "decline", "0011223344"});
    asked.daemon.reply(asked.daemon.expect("connection.requests"), two_waiting());
    for (const int request : {7, 9}) {
      const auto call = asked.daemon.expect(accept ? "connection.accept" : "connection.decline");
      CHECK(call.params["request"] == request);
      asked.daemon.reply(call, ipc::Json::object());
    }
    CHECK(asked.program.wait() == 0);
    CHECK(asked.program.output() == std::string(accept ? "accepted " : "declined ") + kPeer + "\n");
  }
}

TEST_CASE("fault F: accept: by a whole id, by an alias") {
  for (const bool alias : {true, false}) {
    AskedCtl asked({"accept", alias ? "bob" : kSecond});
    if (alias) {
      asked.daemon.reply(asked.daemon.expect("alias.list"), {{"aliases", {{{"name", "bob"}, {"device", kSecond}}}}});
    }
    asked.daemon.reply(asked.daemon.expect("connection.requests"), two_waiting());
    const auto call = asked.daemon.expect("connection.accept");
    CHECK(call.params["request"] == 8);
    asked.daemon.reply(call, ipc::Json::object());
    CHECK(asked.program.wait() == 0);
  }
}

TEST_CASE("fault F: accept: digits of several devices, of none, and too few") {
  AskedCtl several({"accept", "00112233"});
  several.daemon.reply(several.daemon.expect("connection.requests"), two_waiting());
  CHECK(several.program.wait() == 2);
  CHECK(several.program.errors().find(std::string("begin so: ") + kPeer + " " + kSecond) != std::string::npos);
  AskedCtl none({"accept", "99112233"});
  none.daemon.reply(none.daemon.expect("connection.requests"), two_waiting());
  CHECK(none.program.wait() == 4);
  CHECK(none.program.errors().find("no request of that device waits") != std::string::npos);
  AskedCtl few({"decline", "0011"});
  few.daemon.reply(few.daemon.expect("alias.list"), {{"aliases", ipc::Json::array()}});
  CHECK(few.program.wait() == 2);
  CHECK(few.program.errors().find("its first 8 digits or more") != std::string::npos);
}
