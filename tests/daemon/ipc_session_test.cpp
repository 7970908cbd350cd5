// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/local_api/ipc_session.h"

#include <algorithm>
#include <map>
#include <utility>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;

namespace {

struct Owner final : IpcSession::Owner {
  explicit Owner(Loop& loop) : each_turn(loop, [this] { each_turn.want(ready->work()); }) {}
  void on_request(IpcSession& session, ipc::Request request) override {
    ++requests;
    if (answers) session.reply(request.id, ipc::Json::object());
  }
  void on_session_ready(IpcSession& session) override {
    ready = &session;
    each_turn.want(true);
  }
  void on_session_moved(IpcSession& session) override { states.push_back(session.state()); }
  void count(IpcSession::Counted what) override { ++counted[what]; }
  bool answers = true;
  std::map<IpcSession::Counted, int> counted;
  int requests = 0;
  std::vector<IpcSession::State> states;
  IpcSession* ready = nullptr;
  EachTurn each_turn;
};

struct Fixture {
  Fixture() {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    client = ipc::Fd(pair[1]);
    session = std::make_unique<IpcSession>(world.loop, owner, 1, ipc::Fd(pair[0]), ipc::PeerCredentials{}, true, 2);
  }
  std::string read_all() {
    std::string out;
    char chunk[4'096];
    ssize_t n = 0;
    while ((n = ::recv(client.get(), chunk, sizeof chunk, MSG_DONTWAIT)) > 0)
      out.append(chunk, static_cast<std::size_t>(n));
    return out;
  }
  World world;
  Owner owner{world.loop};
  ipc::Fd client;
  std::unique_ptr<IpcSession> session;
};

}  // namespace

TEST_CASE("fds that a client has not taken hold the lines behind them back, until it reads") {
  Fixture f;
  for (int i = 0; i < 5; ++i) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    const ipc::Fd kept(pair[1]);
    f.session->notify("n", {{"i", i}}, ipc::Fd(pair[0]));
  }
  f.session->notify("last", ipc::Json::object());
  std::string text;
  REQUIRE(f.world.run_until([&] {
    text += f.read_all();
    return text.find("last") != std::string::npos;
  }));
  for (int i = 0; i < 5; ++i) CHECK(text.find("\"i\":" + std::to_string(i)) < text.find("last"));
}

TEST_CASE("a client that ended and does not read what is left goes after a while") {
  Fixture f;
  f.session->notify("big", {{"text", std::string(1'000'000, 'x')}});
  REQUIRE(::shutdown(f.client.get(), SHUT_WR) == 0);
  REQUIRE(f.world.run_until([&] { return !f.owner.states.empty(); }));
  CHECK(f.owner.states.back() == IpcSession::State::kEnding);
  f.session->end();
  CHECK(f.session->state() == IpcSession::State::kDraining);
  const auto begun = f.world.loop.now();
  REQUIRE(f.world.run_until([&] { return f.session->state() == IpcSession::State::kGone; }));
  CHECK(f.world.loop.now() - begun >= IpcSession::kDrainTime);
}

TEST_CASE("a client that has gone without a word ends at once") {
  Fixture f;
  f.session->notify("big", {{"text", std::string(1'000'000, 'x')}});
  f.client.reset();
  REQUIRE(f.world.run_until([&] { return !f.owner.states.empty(); }));
  const auto begun = f.world.loop.now();
  f.session->end();
  REQUIRE(f.world.run_until([&] { return f.session->state() == IpcSession::State::kGone; }));
  CHECK(f.world.loop.now() - begun < IpcSession::kDrainTime);
}

TEST_CASE("fault C1: what others cause a client to be told is written in its turn") {
  Fixture f;
  REQUIRE(f.session->subscribe() == 0);
  for (int i = 0; i < 1'000; ++i) {
    f.session->reply(i, ipc::Json::object());
    f.session->event(R"("type":"t")");
  }
  CHECK(f.read_all().empty());
  std::string text;
  REQUIRE(f.world.run_until([&] {
    text += f.read_all();
    return std::count(text.begin(), text.end(), '\n') == 2'000;
  }));
  CHECK(text.find("\"id\":999") < text.find("\"seq\":1000"));
}

TEST_CASE("an answer that does not fit into a line is an error") {
  Fixture f;
  f.session->reply(1, {{"text", std::string(2'000'000, 'x')}});
  std::string text;
  REQUIRE(f.world.run_until([&] {
    text += f.read_all();
    return text.ends_with('\n');
  }));
  CHECK(text.find("resource-limit") != std::string::npos);
  CHECK(f.owner.counted[IpcSession::Counted::kLimit] == 1);
}

TEST_CASE("a client that sends much at once is worked for a piece at a time") {
  Fixture f;
  std::string requests;
  for (int i = 0; i < 1'000; ++i) requests += ipc::request_line(i, "m", ipc::Json::object()) + "\n";
  f.owner.answers = false;
  REQUIRE(::send(f.client.get(), requests.data(), requests.size(), 0) == static_cast<ssize_t>(requests.size()));
  int before = 0;
  int most = 0;
  REQUIRE(f.world.run_until([&] {
    most = std::max(most, f.owner.requests - std::exchange(before, f.owner.requests));
    return f.owner.requests == 1'000;
  }));
  CHECK(most <= IpcSession::kLinesPerPiece);
}

TEST_CASE("a client that leaves answers unread is still read to its end") {
  Fixture f;
  // The close makes the socket report an error at once; several reads are needed behind it.
  std::string requests;
  for (int i = 0; i < 3'000; ++i) requests += ipc::request_line(i, "m", ipc::Json::object()) + "\n";
  f.owner.answers = false;
  f.session->notify("unread", ipc::Json::object());
  const ssize_t sent = ::send(f.client.get(), requests.data(), requests.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  REQUIRE(sent > 2 * static_cast<ssize_t>(ipc::kReadChunkBytes));
  f.client.reset();
  REQUIRE(f.world.run_until([&] { return !f.owner.states.empty(); }));
  CHECK(f.owner.requests > 2'000);
}
