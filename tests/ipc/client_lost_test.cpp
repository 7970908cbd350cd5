// SPDX-License-Identifier: GPL-3.0-or-later
/// Client: when the daemon goes away or talks nonsense, and the blocking forms.
#include <poll.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include <sys/socket.h>

#include "ipc/client.h"
#include "tests/ipc/script_server.h"

using namespace connd;
using namespace connd::ipc;
using namespace connd::test;
using std::chrono::milliseconds;

namespace {

/// A client with a call, an open and a request pending, and one channel open; counts what each hears.
struct Busy {
  Busy() {
    auto& client = server.client();
    client.connect_device("bob", "open", [this](Outcome<ChannelSocket> opened) {
      channel.emplace(std::move(*opened));
      channel->on_closed([this](const ChannelEnd& end) { ends.push_back(end); });
    });
    server.reply(server.expect("channel.open"), open_result(1), numbered_fd(1));
    client.call("daemon.status", Json::object(),
                [this](const Outcome<Json>& reply) { errors.push_back(reply.error()); });
    client.connect_device("bob", "pending",
                          [this](const Outcome<ChannelSocket>& opened) { errors.push_back(opened.error()); });
    client.on_lost([this](const Error& error) {
      CHECK(errors.size() == 2);  // told last
      lost.push_back(error);
    });
    server.expect("daemon.status");
    server.expect("channel.open");
  }
  void check(Reason reason) {
    for (int i = 0; i < 3; ++i) server.client().process();
    CHECK_FALSE(server.client().connected());
    CHECK_FALSE(server.client().wants_write());
    REQUIRE(errors.size() == 2);
    CHECK(errors[0].reason == reason);
    CHECK(errors[1].reason == reason);
    REQUIRE(ends.size() == 1);
    CHECK(ends[0].reason == Reason::kConnectionLost);
    CHECK(lost.size() == 1);
    CHECK(channel->end()->reason == Reason::kConnectionLost);
  }

  ScriptServer server;
  std::optional<ChannelSocket> channel;
  std::vector<Error> errors;
  std::vector<ChannelEnd> ends;
  std::vector<Error> lost;
};

/// Runs `body` on another thread with the server's end of a control connection, while this one blocks.
class Answerer {
 public:
  using Body = std::function<void(FdChannel&)>;
  Answerer(Fd socket, Body body)
      : thread_([socket = std::move(socket), body = std::move(body)]() mutable {
          FdChannel channel(std::move(socket), {});
          body(channel);
        }) {}
  ~Answerer() { thread_.join(); }

 private:
  std::thread thread_;
};

/// The next request; blocks. Not REQUIREd: Catch2 is for the main thread.
std::optional<Request> next_request(FdChannel& channel) {
  for (;;) {
    auto outcome = channel.next();
    if (auto* in = std::get_if<FdChannel::Incoming>(&outcome)) {
      if (auto* request = std::get_if<Request>(&in->message)) return std::move(*request);
      return std::nullopt;
    }
    if (std::holds_alternative<FdChannel::Ended>(outcome)) return std::nullopt;
    pollfd p{channel.fd(), POLLIN, 0};
    ::poll(&p, 1, -1);
    channel.on_readable();
  }
}

void answer(FdChannel& channel, std::string line, Fd fd = {}) {
  static_cast<void>(channel.send(std::move(line), std::move(fd)));
  channel.on_writable();
}

}  // namespace

TEST_CASE("the daemon goes away: each call, channel and request hears of it once") {
  Busy busy;
  busy.server.vanish();
  busy.check(Reason::kConnectionLost);
  // The fd still polls ready, so a loop that sleeps on it has woken up.
  pollfd p{busy.server.client().fd(), POLLIN, 0};
  CHECK(::poll(&p, 1, 0) == 1);
  // What is called now fails the same way, from process().
  busy.server.client().call("hello", Json::object(),
                            [&](const Outcome<Json>& reply) { busy.errors.push_back(reply.error()); });
  CHECK(busy.errors.size() == 2);
  busy.server.client().process();
  REQUIRE(busy.errors.size() == 3);
  CHECK(busy.errors[2].reason == Reason::kConnectionLost);
}

TEST_CASE("the daemon is killed in the middle of a line") {
  Busy busy;
  // Larger than the socket's buffer: what the client gets of it is a part.
  busy.server.send(reply_line(99, std::string(1'000'000, 'x')));
  busy.server.vanish();
  busy.check(Reason::kConnectionLost);
}

TEST_CASE("the daemon's last word is passed on") {
  Busy busy;
  busy.server.send(error_line(nullptr, make_error(Reason::kShuttingDown, "bye")));
  busy.server.vanish();
  busy.check(Reason::kConnectionLost);
  CHECK(busy.errors[0].detail == "bye");
}

TEST_CASE("who is not let in hears why") {
  const Reason reason = GENERATE(Reason::kNotPermitted, Reason::kResourceLimit);
  auto sockets = socket_pair();
  Client client(std::move(sockets.second));
  // It closes without having read anything, as the daemon does.
  const Answerer daemon(std::move(sockets.first),
                        [reason](FdChannel& channel) { answer(channel, error_line(nullptr, make_error(reason))); });
  CHECK(client.call("hello", Json::object()).error().reason == reason);
  CHECK_FALSE(client.connected());
}

TEST_CASE("nonsense from the daemon ends the connection") {
  for (const std::string& line :
       {std::string("nonsense"), std::string("[]"), notification_line("channel.closed", {{"channel", 1}}),
        notification_line("channel.opened", {{"listener", 1}}), reply_line(5, {{"fds", 1}}),
        notification_line("event", {{"seq", "x"}})}) {
    INFO(line);
    Busy busy;
    busy.server.send(line);
    busy.check(Reason::kProtocolError);
  }
}

TEST_CASE("callbacks of a lost daemon may call and destroy") {
  ScriptServer server;
  std::optional<ChannelSocket> channel;
  int calls = 0;
  server.client().connect_device("bob", "x",
                                 [&](Outcome<ChannelSocket> opened) { channel.emplace(std::move(*opened)); });
  server.reply(server.expect("channel.open"), open_result(1), numbered_fd(1));
  channel->on_closed([&](const ChannelEnd&) {
    channel.reset();
    server.client().call("hello", Json::object(), [&](const Outcome<Json>& reply) {
      CHECK_FALSE(reply);
      ++calls;
    });
  });
  server.vanish();
  CHECK_FALSE(server.client().run_until([&] { return calls > 1; }, milliseconds(10'000)));
  CHECK(calls == 1);
}

TEST_CASE("channels and requests may outlive their client") {
  ScriptServer server;
  std::optional<ChannelSocket> channel;
  std::optional<IncomingRequest> request;
  server.client().connect_device("bob", "x",
                                 [&](Outcome<ChannelSocket> opened) { channel.emplace(std::move(*opened)); });
  server.reply(server.expect("channel.open"), open_result(1), numbered_fd(1));
  server.client().listen_ask(
      "x", {}, [&](IncomingRequest r) { request.emplace(std::move(r)); }, [](const Outcome<std::uint64_t>&) {});
  server.reply(server.expect("listen.add"), {{"listener", 3}});
  server.notify("channel.request", {{"listener", 3}, {"request", 1}, {"peer", "p"}, {"account", "a"}, {"uri", "x"}});
  REQUIRE(request);
  channel->on_closed([](const ChannelEnd&) { FAIL("no callback once the client is gone"); });
  server.destroy_client();
  CHECK(request->cancelled());
  request->accept([](const Outcome<ChannelSocket>&) { FAIL("no callback once the client is gone"); });
  request.reset();
  CHECK(channel->end()->reason == Reason::kConnectionLost);
  channel->finish();
  CHECK(channel->wait_end(milliseconds(10'000))->reason == Reason::kConnectionLost);
}

TEST_CASE("blocking forms: open, listen, call, wait_end") {
  auto sockets = socket_pair();
  Client client(std::move(sockets.second));
  const Answerer daemon(std::move(sockets.first), [](FdChannel& channel) {
    const auto open = next_request(channel);
    Json result = open_result(1);
    result["fds"] = 1;
    // numbered_fd checks with Catch2, which this thread may not: any fd will do.
    answer(channel, reply_line(open->id, result), Fd(::dup(0)));
    answer(channel, reply_line(next_request(channel)->id, {{"listener", 4}}));
    answer(channel, reply_line(next_request(channel)->id, {{"a", 1}}));
    answer(channel, error_line(next_request(channel)->id, make_error(Reason::kNotReady)));
    next_request(channel);  // finish
    answer(channel, notification_line("channel.closed", closed_params(1, "stalled")));
    next_request(channel);  // until the client is gone
  });
  auto channel = client.open("bob", "x");
  REQUIRE(channel);
  CHECK(channel->fd() >= 0);
  CHECK(*client.listen("y", {}, [](const ChannelSocket&) {}) == 4);
  CHECK(*client.call("one", Json::object()) == Json{{"a", 1}});
  CHECK(client.call("two", Json::object()).error().reason == Reason::kNotReady);
  channel->finish();
  const auto end = channel->wait_end(milliseconds(10'000));
  REQUIRE(end);
  CHECK(end->reason == Reason::kStalled);
  ::shutdown(client.fd(), SHUT_RDWR);
}

TEST_CASE("a blocking call gives up in time, and a late fd is closed") {
  ScriptServer server;
  CHECK(server.client().call("slow", Json::object(), milliseconds(1)).error().reason == Reason::kTimedOut);
  const auto slow = server.expect("slow");
  const int before = count_open_fds();
  server.reply(slow, {{"late", true}}, numbered_fd(1));
  CHECK(count_open_fds() == before);
  CHECK(server.client().connected());
}

TEST_CASE("a blocking call from within a callback") {
  auto sockets = socket_pair();
  Client client(std::move(sockets.second));
  const Answerer daemon(std::move(sockets.first), [](FdChannel& channel) {
    answer(channel, reply_line(next_request(channel)->id, 1));
    answer(channel, reply_line(next_request(channel)->id, 2));
    next_request(channel);
  });
  int inner = 0;
  bool done = false;
  client.call("outer", Json::object(), [&](const Outcome<Json>& outer) {
    CHECK(*outer == 1);
    inner = client.call("inner", Json::object())->get<int>();
    done = true;
  });
  CHECK(client.run_until([&] { return done; }, milliseconds(10'000)));
  CHECK(inner == 2);
  ::shutdown(client.fd(), SHUT_RDWR);
}
