// SPDX-License-Identifier: GPL-3.0-or-later
/// Calls: what is told, in which order, and what of it is for nobody.
#include "ipc/calls.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/ipc/socket_pair.h"

using namespace connd;
using namespace connd::ipc;
using namespace connd::test;
using std::chrono::milliseconds;

namespace {

/// The app's end, and a daemon's that is played by hand. `told`: everything that was, in order.
struct Joined : Calls::Owner {
  Joined() {
    auto sockets = socket_pair();
    server.emplace(std::move(sockets.first), FdChannel::Options{});
    calls.emplace(std::move(sockets.second), *this);
  }
  void notified(const Notification& note, Fd /*fd*/) override { told.push_back(note.method); }
  void connection_lost(const Error& error) override {
    calls->defer([this, error] { told.push_back("lost: " + std::string(proto::reason_name(error.reason))); });
  }
  std::uint64_t ask(const std::string& method) {
    return calls->start(method, Json::object(), [this, method](const Outcome<Json>& result, const Fd&) {
      told.push_back(method + ": " + (result ? "done" : std::string(proto::reason_name(result.error().reason))));
    });
  }
  void say(std::string line, Fd fd = {}) {
    REQUIRE(server->send(std::move(line), std::move(fd)));
    server->on_writable();
  }

  std::vector<std::string> told;
  std::optional<FdChannel> server;
  std::optional<Calls> calls;
};

}  // namespace

TEST_CASE("answers find their calls in any order, and what is no answer goes to the owner") {
  Joined app;
  const auto one = app.ask("one");
  const auto two = app.ask("two");
  CHECK(one != two);
  app.say(reply_line(two, Json::object()));
  app.say(notification_line("news", Json::object()));
  app.say(reply_line(one, Json::object()));
  app.say(reply_line(one, Json::object()));
  app.calls->process();
  CHECK(app.told == std::vector<std::string>{"two: done", "news", "one: done"});
  CHECK_FALSE(app.calls->lost());
}

TEST_CASE("a call that was given up is told to nobody, and the fd that comes for it is closed") {
  Joined app;
  app.calls->give_up(app.ask("one"));
  auto ends = socket_pair();
  app.say(reply_line(1, Json{{"fds", 1}}), std::move(ends.first));
  app.calls->process();
  CHECK(app.told.empty());
  char byte = 0;
  CHECK(::recv(ends.second.get(), &byte, 1, MSG_DONTWAIT) == 0);
}

TEST_CASE("when the daemon is gone, calls hear of it before the owner's own, and each call after it too") {
  Joined app;
  app.ask("one");
  app.ask("two");
  app.server.reset();
  for (int i = 0; i < 2; ++i) app.calls->process();
  CHECK(app.told == std::vector<std::string>{"one: connection-lost", "two: connection-lost", "lost: connection-lost"});
  CHECK(app.calls->lost());
  app.told.clear();
  app.ask("three");
  CHECK(app.told.empty());  // never from inside the call
  app.calls->process();
  CHECK(app.told == std::vector<std::string>{"three: connection-lost"});
  CHECK_FALSE(app.calls->wants_write());
}

TEST_CASE("who is not let in hears why; the same of one line, after hello, is no word about the connection") {
  const bool after_hello = GENERATE(false, true);
  Joined app;
  app.ask("one");
  if (after_hello) app.calls->let_in();
  app.say(error_line(nullptr, make_error(Reason::kNotPermitted)));
  app.calls->process();
  app.server.reset();
  for (int i = 0; i < 2; ++i) app.calls->process();
  CHECK(app.told.front() == (after_hello ? "one: connection-lost" : "one: not-permitted"));
}

TEST_CASE("waiting ends with the answer, or in time") {
  Joined app;
  const auto slot = std::make_shared<std::optional<Outcome<Json>>>();
  app.calls->start("one", Json::object(), [slot](Outcome<Json> result, const Fd&) { *slot = std::move(result); });
  CHECK(app.calls->wait(slot, milliseconds(1)).error().reason == Reason::kTimedOut);
  app.say(reply_line(1, Json{{"a", 1}}));
  const auto result = app.calls->wait(slot, milliseconds(60'000));
  REQUIRE(result);
  CHECK(*result == Json{{"a", 1}});
}

TEST_CASE("text that is not UTF-8 is not asked") {
  Joined app;
  std::string bad("\xff");
  app.calls->start("one", Json{{"name", bad}}, [&](const Outcome<Json>& result, const Fd&) {
    app.told.push_back(std::string(proto::reason_name(result.error().reason)));
  });
  app.calls->process();
  CHECK(app.told == std::vector<std::string>{"invalid-argument"});
  app.server->on_readable();
  CHECK(std::holds_alternative<FdChannel::NeedMore>(app.server->next()));
}
