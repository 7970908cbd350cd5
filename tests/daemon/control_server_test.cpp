// SPDX-License-Identifier: GPL-3.0-or-later
// Who gets in at the control socket, and how clients go.
#include "daemon/local_api/control_server.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/daemon/api_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;

namespace {

ApiNode::Options no_manager(IpcSettings settings = {}) {
  return {.manager = false, .policy = IceRequestPolicy::kTrusted, .ipc = std::move(settings)};
}
std::string request(int id, const std::string& method, const Json& params = Json::object()) {
  return ipc::request_line(id, method, params) + "\n";
}
std::string reason_in(const Json& line) {
  return line["error"]["data"]["reason"].get<std::string>();
}

}  // namespace

TEST_CASE("who may not connect hears why") {
  ApiWorld world;
  IpcSettings settings;
  settings.access = ClientAccess{};  // a system service without its groups: root alone
  if (::getuid() == 0) settings.max_clients = 0;
  ApiNode node(world, 0, no_manager(settings));
  RawClient client(world, node.path());
  CHECK(reason_in(client.line()) == (::getuid() == 0 ? "resource-limit" : "not-permitted"));
  CHECK(client.closed());
}

TEST_CASE("too many clients: the next one is told, and gets in when one has gone") {
  ApiWorld world;
  IpcSettings settings;
  settings.max_clients = 2;
  ApiNode node(world, 0, no_manager(settings));
  RawClient first(world, node.path());
  ApiClient second(world, node);
  REQUIRE(second.call("alias.list").ok());
  RawClient third(world, node.path());
  CHECK(reason_in(third.line()) == "resource-limit");
  CHECK(third.closed());
  CHECK(node.server->totals().limits_hit == 1);
  first.shut_down_writing();
  REQUIRE(first.closed());
  REQUIRE(world.run_until([&] { return node.server->clients().client_count() == 1; }));
  ApiClient fourth(world, node);
  CHECK(fourth.call("alias.list").ok());
}

TEST_CASE("a client that does not read is dropped, and others do not notice") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  RawClient deaf(world, node.path());
  ApiClient other(world, node);
  const std::string discover = request(1, "rpc.discover");
  int sent = 0;
  // Each answer is tens of kilobytes: thousands of them pass the bound of 8 MiB by far.
  while (node.server->clients().client_count() != 1 && sent < 20'000) {
    if (::send(deaf.fd(), discover.data(), discover.size(), MSG_NOSIGNAL) > 0) ++sent;
    REQUIRE(other.call("alias.list").ok());
  }
  CHECK(node.server->clients().client_count() == 1);
  CHECK(sent > 100);
  CHECK(node.server->totals().clients_dropped == 1);
  CHECK(other.call("daemon.status").ok());
}

TEST_CASE("without a free descriptor a client is told, the daemon does not spin, and goes on afterwards") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  const ipc::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const ipc::Fd second(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, node.path().data(), node.path().size());

  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none = before;
  const auto fds = std::filesystem::directory_iterator("/proc/self/fd");
  none.rlim_cur = 0;
  for (const auto& entry : fds) {
    none.rlim_cur = std::max<rlim_t>(none.rlim_cur, std::stoul(entry.path().filename().string()));
  }
  std::vector<ipc::Fd> fill;  // the gaps below the limit
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) fill.emplace_back(fd);
  REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::connect(second.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  char text[512] = {};
  ssize_t got = -1;
  std::uint64_t turns = 0;
  const bool told = world.run_until([&] {
    ++turns;
    got = got > 0 ? got : ::recv(socket.get(), text, sizeof text - 1, MSG_DONTWAIT);
    char other[512];
    return got > 0 && ::recv(second.get(), other, sizeof other, MSG_DONTWAIT) > 0;
  });
  fill.clear();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(told);
  CHECK(std::string(text).find("resource-limit") != std::string::npos);
  CHECK(turns < 100);
  ApiClient client(world, node);
  CHECK(client.call("alias.list").ok());
}

TEST_CASE("the daemon stops: clients read what is left, then see the end") {
  ApiWorld world;
  ApiNode node(world, 0, no_manager());
  RawClient client(world, node.path());
  client.write(request(1, "alias.list"));
  CHECK(client.line()["id"] == 1);
  RawClient late(world, node.path());
  bool done = false;
  node.server->shut_down([&] { done = true; });
  CHECK(client.closed());
  CHECK(late.closed());
  CHECK(world.run_until([&] { return done; }));
  CHECK(node.server->clients().client_count() == 0);
}
