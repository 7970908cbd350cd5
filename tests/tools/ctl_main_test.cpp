// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>

#include <array>

#include <catch2/catch.hpp>

#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

TEST_CASE("no daemon: exit code 3, and a line that says what to do") {
  for (const char* verb : {"id", "status", "connections", "channels", "events"}) {
    Program program({"--socket", "/nonexistent/control.sock", verb});
    CHECK(program.wait() == 3);
    CHECK(program.error_is_one_line());
    CHECK(program.errors().find("(daemon-absent)") != std::string::npos);
    CHECK(program.errors().find("systemctl") != std::string::npos);
    CHECK(program.output().empty());
  }
}

TEST_CASE("a wrong command line: exit code 2, one line, nothing asked") {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"open", "bob"},
      {"open", "bob", "x", "-q", "soon"},
      {"open", "bob", "x", "--timeout", "-1"},
      {"trust"},
      {"trust", "allow"},
      {"trust", "allow", "x", "--kind", "cat"},
      {"alias", "set", "bob"},
      {"listen"},
      {"listen", "x", "--exec"},
      {"call"},
      {"call", "m", "[]"},
      {"call", "m", "{"},
      {"status", "--wat"},
  };
  for (const auto& arguments : wrong) {
    Program program(arguments);
    INFO("of " << arguments.size() << ": " << (arguments.empty() ? "" : arguments[0]));
    CHECK(program.wait() == 2);
    CHECK(program.error_is_one_line());
  }
}

TEST_CASE("help goes to stdout, for each verb, with an example") {
  const std::vector<std::vector<std::string>> verbs = {{},
                                                       {"id"},
                                                       {"status"},
                                                       {"connections"},
                                                       {"channels"},
                                                       {"close"},
                                                       {"version"},
                                                       {"open"},
                                                       {"listen"},
                                                       {"events"},
                                                       {"call"},
                                                       {"trust"},
                                                       {"alias"},
                                                       {"trust", "ban"},
                                                       {"trust", "list"},
                                                       {"alias", "set"},
                                                       {"alias", "remove"},
                                                       {"alias", "list"}};
  for (auto arguments : verbs) {
    arguments.emplace_back("--help");
    Program program(arguments);
    CHECK(program.wait() == 0);
    CHECK(program.output().find("Example") != std::string::npos);
    CHECK(program.errors().empty());
  }
}

TEST_CASE("a full disk under stdout is an error, whatever the verb did") {
  const ipc::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full);
  Program program({"version"}, {.out = full.get()});
  CHECK(program.wait() == 1);
  CHECK(program.errors().find("No space left") != std::string::npos);
}

TEST_CASE("an error of the daemon: its reason's exit code, and control characters escaped") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "connections"});
  daemon.greet();
  daemon.fail(daemon.expect("connection.list"), ipc::Reason::kNotPermitted, "a\x1b[31mb\nc");
  CHECK(program.wait() == 6);
  CHECK(program.error_is_one_line());
  CHECK(program.errors().find("a\\x1b[31mb\\x0ac") != std::string::npos);
}

TEST_CASE("fault F00: an unknown verb is named, with one that is like it") {
  const std::vector<std::array<std::string, 2>> words = {
      {"stauts", "there is no verb 'stauts'; did you mean 'status'?"},
      {"conn", "there is no verb 'conn'; did you mean 'connections'?"},
      {"xyzzy", "there is no verb 'xyzzy': see 'jami-connctl --help'"},
      {std::string(100'000, 'o'), "there is no verb 'oooo"},
  };
  for (const auto& [word, told] : words) {
    Program program({"--socket", "/nonexistent/control.sock", "-v", word, "bob"});
    CHECK(program.wait() == 2);
    CHECK(program.error_is_one_line());
    CHECK(program.errors().find(told) != std::string::npos);
    CHECK(program.errors().find("subcommand") == std::string::npos);
  }
}

TEST_CASE("fault F00: --version and help") {
  Program version({"--version"});
  CHECK(version.wait() == 0);
  CHECK(version.output().starts_with("jami-connctl "));
  Program help({"help"});
  CHECK(help.wait() == 0);
  CHECK(help.output().find("Subcommands") != std::string::npos);
  Program verb({"help", "trust", "allow"});
  CHECK(verb.wait() == 0);
  CHECK(verb.output().find("jami-connctl trust allow") != std::string::npos);
}

TEST_CASE("fault F00: an id is understood as people copy it") {
  const std::string id(kPeer);
  for (const std::string& text : {id + "\n", " " + id, "jami:" + id, id.substr(0, 32) + " " + id.substr(32)}) {
    PlayedDaemon daemon;
    Program program({"--socket", daemon.path(), "trust", "allow", text});
    daemon.greet();
    const auto request = daemon.expect("trust.allow");
    CHECK(request.params["id"] == id);
    daemon.reply(request, {{"id", id}, {"kind", "device"}, {"trust", "allowed"}});
    CHECK(program.wait() == 0);
  }
}

TEST_CASE("fault F00: an alias for an account is refused in words") {
  Program program({"alias", "set", "x", std::string(40, 'a')});
  CHECK(program.wait() == 2);
  CHECK(program.errors().find("an alias names one device") != std::string::npos);
}

TEST_CASE("fault F: what a message says to do is of use to who has typed this verb") {
  struct Row {
    std::vector<std::string> words;
    const char* method;
    ipc::Reason reason;
    const char* told;
    const char* not_told;
  };
  const std::vector<Row> rows = {
      {{"close", "17"}, "channel.close", ipc::Reason::kNotFound, "'jami-connctl channels'", "'jami-connctl id'"},
      {{"alias", "remove", "x"}, "alias.remove", ipc::Reason::kNotFound, "alias list", "'jami-connctl id'"},
      {{"crl", "remove", std::string(64, 'a')}, "crl.remove", ipc::Reason::kNotFound, "crl list", "'jami-connctl id'"},
      {{"trust", "allow", "x"}, "trust.allow", ipc::Reason::kNotFound, "'jami-connctl id'", "list"},
      {{"identity", "forget-account-key"},
       "identity.forget_account_key",
       ipc::Reason::kNotFound,
       "use the device that has it",
       "check the id"},
      {{"crl", "add", "/dev/null"}, "crl.add", ipc::Reason::kBadCertificate, "the right file", "renewed"},
      {{"connections"}, "connection.list", ipc::Reason::kConnectionLost, "try again", "data"},
      {{"connections"}, "connection.list", ipc::Reason::kTimedOut, "try again", "--timeout"},
  };
  for (const Row& row : rows) {
    PlayedDaemon daemon;
    std::vector<std::string> words = {"--socket", daemon.path()};
    words.insert(words.end(), row.words.begin(), row.words.end());
    Program program(words);
    daemon.greet();
    daemon.fail(daemon.expect(row.method), row.reason);
    CHECK(program.wait() != 0);
    CAPTURE(program.errors());
    CHECK(program.errors().find(row.told) != std::string::npos);
    CHECK(program.errors().find(row.not_told) == std::string::npos);
  }
}
