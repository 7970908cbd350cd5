// SPDX-License-Identifier: GPL-3.0-or-later
#include <catch2/catch.hpp>

#include "tests/tools/played_daemon.h"
#include "tests/tools/program.h"

using namespace connd;
using namespace connd::test;

namespace {

struct Call {
  std::vector<std::string> arguments;
  std::string method;
  ipc::Json params;
  ipc::Json result;
  std::string output;
};

}  // namespace

TEST_CASE("trust and alias: what is asked, and what is printed") {
  const ipc::Json entry = {{"id", kAccount}, {"kind", "ca"}, {"trust", "allowed"}};
  const ipc::Json named = {{"id", kPeer}, {"kind", "device"}, {"trust", "banned"}, {"alias", "bob"}};
  const ipc::Json entries = {{"entries", {entry, named}}};
  const ipc::Json alias = {{"name", "bob"}, {"device", kPeer}};
  const ipc::Json nothing = ipc::Json::object();
  const std::vector<Call> calls = {
      {{"trust", "allow", kAccount, "--kind", "ca"},
       "trust.allow",
       {{"id", kAccount}, {"kind", "ca"}},
       entry,
       std::string("allowed ca ") + kAccount + "\n"},
      {{"trust", "ban", "bob"},
       "trust.ban",
       {{"id", "bob"}},
       named,
       std::string("banned device ") + kPeer + " (bob)\n"},
      {{"trust", "unset", "bob", "--json"}, "trust.unset", {{"id", "bob"}}, named, named.dump() + "\n"},
      {{"trust", "list", "--json"}, "trust.list", nothing, entries, entry.dump() + "\n" + named.dump() + "\n"},
      {{"trust", "list"},
       "trust.list",
       nothing,
       {{"entries", {named}}},
       std::string("TRUST   KIND    ID") + std::string(64, ' ') + "ALIAS\nbanned  device  " + kPeer + "  bob\n"},
      {{"alias", "set", "bob", kPeer}, "alias.set", alias, nothing, ""},
      {{"alias", "remove", "bob"}, "alias.remove", {{"name", "bob"}}, nothing, ""},
      {{"alias", "list", "--json"}, "alias.list", nothing, {{"aliases", {alias}}}, alias.dump() + "\n"},
      {{"alias", "list"},
       "alias.list",
       nothing,
       {{"aliases", {alias}}},
       std::string("NAME  DEVICE\nbob   ") + kPeer + "\n"},
  };
  for (const Call& call : calls) {
    PlayedDaemon daemon;
    std::vector<std::string> arguments = {"--socket", daemon.path()};
    arguments.insert(arguments.end(), call.arguments.begin(), call.arguments.end());
    Program program(arguments);
    daemon.greet();
    const auto request = daemon.expect(call.method);
    CHECK(request.params == call.params);
    daemon.reply(request, call.result);
    CHECK(program.wait() == 0);
    CHECK(program.output() == call.output);
  }
}

TEST_CASE("trust: an error has the verb's name") {
  PlayedDaemon daemon;
  Program program({"--socket", daemon.path(), "trust", "allow", "nobody"});
  daemon.greet();
  daemon.fail(daemon.expect("trust.allow"), ipc::Reason::kNotFound);
  CHECK(program.wait() == 4);
  CHECK(program.errors().starts_with("jami-connctl: trust allow: "));
}
