// SPDX-License-Identifier: GPL-3.0-or-later
// What the verbs identity and crl ask, and print; what they mean is e2e/test_f_trust.py's.
#include <catch2/catch.hpp>

#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

struct Call {
  std::vector<std::string> arguments;
  std::string input;
  std::string method;
  ipc::Json params;
  ipc::Json result;
  std::string output;
};

}  // namespace

TEST_CASE("identity and crl: what is asked, and what is printed") {
  const std::string id(64, 'c');
  const ipc::Json nothing = ipc::Json::object();
  const ipc::Json entry = {{"crl", id}, {"issuer", "CN=x\x1b[31m"}, {"revoked", 2}};
  const std::vector<Call> calls = {
      {{"identity", "show"}, "", "identity.show", nothing, {{"chain", "PEM\n"}}, "PEM\n"},
      {{"identity", "request"}, "", "identity.request", nothing, {{"request", "REQ\n"}}, "REQ\n"},
      {{"identity", "sign", "-"}, "REQ\n", "identity.sign", {{"request", "REQ\n"}}, {{"chain", "PEM\n"}}, "PEM\n"},
      {{"identity", "import", "-"}, "PEM\n", "identity.import", {{"pem", "PEM\n"}}, nothing, ""},
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
