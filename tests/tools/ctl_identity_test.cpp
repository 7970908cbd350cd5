// SPDX-License-Identifier: GPL-3.0-or-later
// What the verbs identity and crl ask, and print; what they mean is e2e/test_f_trust.py's.
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/daemon/temp_dir.h"
#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

/// What is asked when the first has been answered.
struct Then {
  std::string method;
  ipc::Json params;
  ipc::Json result;
};

struct Call {
  std::vector<std::string> arguments;
  std::string input;
  std::string method;
  ipc::Json params;
  ipc::Json result;
  std::string output;
  std::vector<Then> then = {};
};

}  // namespace

TEST_CASE("identity and crl: what is asked, and what is printed") {
  const std::string id(64, 'c');
  const ipc::Json nothing = ipc::Json::object();
  const std::string account(40, 'a');
  const Then show = {"identity.show", nothing, {{"account", account}}};
  const Then trust = {"trust.allow", {{"id", account}, {"kind", "account"}}, nothing};
  const ipc::Json entry = {{"crl", id}, {"issuer", "CN=x\x1b[31m"}, {"revoked", 2}};
  const std::vector<Call> calls = {
      {{"identity", "show"}, "", "identity.show", nothing, {{"chain", "PEM\n"}}, "PEM\n"},
      {{"identity", "request"}, "", "identity.request", nothing, {{"request", "REQ\n"}}, "REQ\n"},
      {{"identity", "sign", "-"},
       "REQ\n",
       "identity.sign",
       {{"request", "REQ\n"}},
       {{"chain", "PEM\n"}},
       "PEM\n",
       {show}},
      {{"identity", "sign", "-", "--trust-account"},
       "REQ\n",
       "identity.sign",
       {{"request", "REQ\n"}},
       {{"chain", "PEM\n"}},
       "PEM\n",
       {show, trust}},
      {{"identity", "revoke", "laptop"}, "", "identity.revoke", {{"device", "laptop"}}, {{"pem", "CRL\n"}}, "CRL\n"},
      {{"identity", "revoke", "laptop", "--chain", "-"},
       "PEM\n",
       "identity.revoke",
       {{"device", "laptop"}, {"chain", "PEM\n"}},
       {{"pem", "CRL\n"}},
       "CRL\n"},
      {{"identity", "import", "-"}, "PEM\n", "identity.import", {{"pem", "PEM\n"}}, {{"account", account}}, ""},
      {{"identity", "import", "-", "--trust-account"},
       "PEM\n",
       "identity.import",
       {{"pem", "PEM\n"}},
       {{"account", account}},
       "",
       {trust}},
      {{"identity", "forget-account-key"}, "", "identity.forget_account_key", nothing, nothing, ""},
      {{"identity", "request", "--json"},
       "",
       "identity.request",
       nothing,
       {{"request", "REQ\n"}},
       "{\"request\":\"REQ\\n\"}\n"},
      {{"crl", "add", "-"}, "CRL\n", "crl.add", {{"pem", "CRL\n"}}, entry, id + "\n"},
      {{"crl", "remove", id}, "", "crl.remove", {{"crl", id}}, nothing, ""},
      {{"crl", "list"},
       "",
       "crl.list",
       nothing,
       {{"crls", {entry}}},
       "CRL" + std::string(63, ' ') + "REVOKED  ISSUER\n" + id + "  2        CN=x\\x1b[31m\n"},
  };
  for (const Call& call : calls) {
    INFO(call.method);
    PlayedDaemon daemon;
    std::vector<std::string> arguments = {"--socket", daemon.path()};
    arguments.insert(arguments.end(), call.arguments.begin(), call.arguments.end());
    Program program(arguments);
    program.write(call.input);
    program.in.reset();
    daemon.greet();
    const auto request = daemon.expect(call.method);
    CHECK(request.params == call.params);
    daemon.reply(request, call.result);
    for (const Then& then : call.then) {
      daemon.greet();  // each call has a connection of its own
      const auto next = daemon.expect(then.method);
      CHECK(next.params == then.params);
      daemon.reply(next, then.result);
    }
    CHECK(program.wait() == 0);
    CHECK(program.output() == call.output);
  }
}

TEST_CASE("identity and crl: a file that cannot be read is told, and nothing is asked") {
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"identity", "sign"}, {"identity", "import"}, {"crl", "add"}}) {
    PlayedDaemon daemon;
    std::vector<std::string> arguments = {"--socket", daemon.path()};
    arguments.insert(arguments.end(), verb.begin(), verb.end());
    arguments.emplace_back("/nonexistent/file");
    Program program(arguments);
    CHECK(program.wait() == 1);
    CHECK(program.errors().find("/nonexistent/file: cannot be read") != std::string::npos);
    CHECK(program.error_is_one_line());
  }
}

TEST_CASE("identity: a passphrase that would not arrive as it stands is refused, and nothing is asked") {
  const TempDir directory;
  const std::string path = directory.path() + "/passphrase";
  for (const std::string& passphrase : {std::string("correct h\xF6rse\n"), std::string("correct\0horse\n", 14),
                                        std::string("\xFF\xFE"
                                                    "c\0o\0r\0\n\0",
                                                    10)}) {
    std::ofstream(path, std::ios::binary) << passphrase;
    for (const std::vector<std::string>& verb : {std::vector<std::string>{"export-account"}, {"import", "/dev/null"}}) {
      PlayedDaemon daemon;
      std::vector<std::string> arguments = {"--socket", daemon.path(), "identity"};
      arguments.insert(arguments.end(), verb.begin(), verb.end());
      arguments.insert(arguments.end(), {"--passphrase-file", path});
      Program program(arguments);
      CHECK(program.wait() == 2);
      CHECK(program.error_is_one_line());
      CHECK(program.errors().find(path + ": ") != std::string::npos);
      CHECK(program.errors().find("passphrase is UTF-8 without NUL") != std::string::npos);
    }
  }
}

TEST_CASE("identity: a passphrase is the first line, whatever is below it") {
  const TempDir directory;
  const std::string path = directory.path() + "/passphrase";
  std::ofstream(path, std::ios::binary) << std::string("correct h\xC3\xB6rse\r\n\0\xFF", 18);
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "identity", "export-account", "--passphrase-file", path});
  daemon.greet();
  const auto request = daemon.expect("identity.export_account");
  CHECK(request.params == ipc::Json{{"passphrase", "correct h\xC3\xB6rse"}});
  daemon.reply(request, {{"account", "PEM\n"}});
  CHECK(program.wait() == 0);
}

TEST_CASE("fault B7: a list that is too long to travel is told where it is made, and where it is added") {
  for (const bool made_here : {true, false}) {
    for (const bool too_long : {true, false}) {
      PlayedDaemon daemon;
      std::vector<std::string> arguments = {"--socket", daemon.path()};
      if (made_here) arguments.insert(arguments.end(), {"identity", "revoke", "laptop"});
      if (!made_here) arguments.insert(arguments.end(), {"crl", "add", "-"});
      Program program(arguments);
      program.write("CRL\n");
      program.in.reset();
      daemon.greet();
      const auto request = daemon.expect(made_here ? "identity.revoke" : "crl.add");
      const ipc::Json entry = {
          {"crl", std::string(64, 'c')}, {"issuer", "CN=x"}, {"revoked", 400}, {"too_long", too_long}};
      daemon.reply(request, made_here ? ipc::Json{{"pem", "CRL\n"}, {"crl", entry}} : entry);
      CHECK(program.wait() == 0);
      const bool told = program.errors().find("too long to travel by itself (400 certificates)") != std::string::npos;
      CHECK(told == too_long);
    }
  }
}
