// SPDX-License-Identifier: GPL-3.0-or-later
#include "ipc/client.h"

#include <functional>
#include <map>
#include <vector>

#include "tests/ipc/script_server.h"

using namespace connd;
using namespace connd::ipc;
using namespace connd::test;

TEST_CASE("the classic example: two files, two channels, answered in any order") {
  ScriptServer server;
  std::map<std::string, std::optional<ChannelSocket>> got;
  for (const char* uri : {"file://file1", "file://file2"}) {
    server.client().connect_device("bob", uri, [&got, uri](Outcome<ChannelSocket> channel) {
      REQUIRE(channel);
      got[uri].emplace(std::move(*channel));
    });
  }
  const auto first = server.expect("channel.open");
  const auto second = server.expect("channel.open");
  CHECK(first.params["peer"] == "bob");
  CHECK(first.params["strict_end"] == true);
  CHECK(got.empty());
  server.reply(second, open_result(12), numbered_fd(2));
  server.reply(first, open_result(11), numbered_fd(1));
  REQUIRE(got.size() == 2);
  CHECK(got["file://file1"]->handle() == 11);
  CHECK(got["file://file1"]->device() == "d0");
  CHECK(got["file://file1"]->uri() == "file://file1");
  CHECK(number_in(Fd(::dup(got["file://file1"]->fd()))) == 1);
  CHECK(number_in(Fd(::dup(got["file://file2"]->fd()))) == 2);
}

TEST_CASE("the daemon's own parser takes what the client sends") {
  ScriptServer server;
  Client::OpenOptions options;
  options.timeout_s = 2.5;
  options.unique = true;
  server.client().connect_device(
      "bob", std::string("a\0b", 3), [](const Outcome<ChannelSocket>&) {}, options);
  const auto open = read_params<ChannelOpenParams>(server.expect("channel.open").params);
  REQUIRE(open);
  CHECK(open->uri == std::string("a\0b", 3));
  CHECK(open->timeout == 2.5);
  CHECK(open->unique);
  Client::ListenOptions listen;
  listen.prefix = true;
  listen.peers = Json::array({"bob"});
  server.client().listen(
      "file://", listen, [](const ChannelSocket&) {}, [](const Outcome<std::uint64_t>&) {});
  const auto add = read_params<ListenAddParams>(server.expect("listen.add").params);
  REQUIRE(add);
  CHECK(add->prefix);
  CHECK(add->mode == ListenMode::kAuto);
  CHECK(add->strict_end);
  CHECK(listener_peers(add->peers)->devices == std::vector<std::string>{"bob"});
}

TEST_CASE("an open fails with the daemon's reason, once") {
  ScriptServer server;
  std::vector<Error> errors;
  const auto note = [&](const Outcome<ChannelSocket>& channel) { errors.push_back(channel.error()); };
  server.client().connect_device("bob", "x", note);
  server.fail(server.expect("channel.open"), Reason::kNoListener);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].reason == Reason::kNoListener);
  CHECK(errors[0].exit_code() == 5);
  // A name that is not UTF-8 would arrive as another one: refused here, from process() as ever.
  server.client().connect_device("bob", "\xFF", note);
  CHECK(errors.size() == 1);
  CHECK(server.client().wants_write());
  server.client().process();
  REQUIRE(errors.size() == 2);
  CHECK(errors[1].reason == Reason::kBadName);
  CHECK(server.idle());
  // The same channel again, for `unique`: no fd, as this program holds it.
  server.client().connect_device("bob", "x", note);
  server.reply(server.expect("channel.open"), open_result(3));
  CHECK(errors.at(2).reason == Reason::kDuplicate);
}

TEST_CASE("a handler that takes a ChannelSocket alone learns of failures as ends") {
  ScriptServer server;
  std::vector<ChannelSocket> got;
  const auto keep = [&](ChannelSocket channel) { got.push_back(std::move(channel)); };
  server.client().connect_device("bob", "file://file1", keep);
  server.reply(server.expect("channel.open"), open_result(11), numbered_fd(1));
  REQUIRE(got.size() == 1);
  CHECK(got[0].handle() == 11);
  CHECK(number_in(Fd(::dup(got[0].fd()))) == 1);
  CHECK_FALSE(got[0].end());

  server.client().connect_device("bob", "file://file2", keep);
  server.fail(server.expect("channel.open"), Reason::kNoListener);
  REQUIRE(got.size() == 2);
  CHECK(got[1].fd() == -1);
  CHECK(got[1].uri() == "file://file2");
  REQUIRE(got[1].end());
  CHECK(got[1].end()->reason == Reason::kNoListener);
  CHECK(got[1].end()->detail.empty());
  CHECK(got[1].end()->result().error() == make_error(Reason::kNoListener));
  got[1].finish();  // as on any channel that has ended: nothing
  CHECK(server.idle());
  int told = 0;
  got[1].on_closed([&](const ChannelEnd& end) { told += end.reason == Reason::kNoListener ? 1 : 100; });
  server.client().process();
  CHECK(told == 1);

  Client::OpenOptions options;
  options.unique = true;
  server.client().connect_device("bob", "file://file3", keep, options);
  const auto unique = server.expect("channel.open");
  CHECK(unique.params["unique"] == true);
  server.send(error_line(unique.id, make_error(Reason::kDeclined, {}, "not today")));
  server.client().process();
  REQUIRE(got.size() == 3);
  CHECK(got[2].end()->reason == Reason::kDeclined);
  CHECK(got[2].end()->detail == "not today");
}

TEST_CASE("1,000 opens in flight: each handler gets its own fd") {
  ScriptServer server;
  constexpr std::uint32_t kCount = 1000;
  std::uint32_t right = 0;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    server.client().connect_device("bob", std::to_string(i), [i, &right](Outcome<ChannelSocket> channel) {
      REQUIRE(channel);
      if (number_in(channel->release_fd()) == i) ++right;
    });
  }
  std::vector<Request> requests;
  while (requests.size() < kCount) requests.push_back(server.expect("channel.open"));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const Request& request = requests[(i * 7) % kCount];  // 7 and 1,000 share no divisor: each once, out of order
    const auto number = static_cast<std::uint32_t>(std::stoul(request.params["uri"].get<std::string>()));
    Json result = open_result(number + 1);
    result["fds"] = 1;
    server.send(reply_line(request.id, std::move(result)), numbered_fd(number));
    if (i % 50 == 49) server.client().process();  // replies coalesce meanwhile
  }
  // The daemon sends 64 fds ahead of the reader at most, and the rest as they are collected.
  for (int turns = 0; turns < 1000 && right < kCount; ++turns) {
    server.client().process();
    server.retry();
  }
  CHECK(right == kCount);
}

TEST_CASE("the end of a channel is told once, and is an error unless clean") {
  ScriptServer server;
  std::optional<ChannelSocket> channel;
  std::vector<ChannelEnd> ends;
  for (const char* reason : {"closed", "reset"}) {
    server.client().connect_device("bob", "x",
                                   [&](Outcome<ChannelSocket> opened) { channel.emplace(std::move(*opened)); });
    server.reply(server.expect("channel.open"), open_result(5), numbered_fd(1));
    channel->on_closed([&](const ChannelEnd& end) { ends.push_back(end); });
    CHECK_FALSE(channel->end());
    server.notify("channel.closed", closed_params(5, reason));
    server.notify("channel.closed", closed_params(5, reason));  // a daemon does not say it twice; it would not matter
  }
  REQUIRE(ends.size() == 2);
  CHECK(ends[0].clean());
  CHECK(ends[0].result());
  CHECK(ends[0].bytes_in == 10);
  CHECK(ends[0].bytes_out == 20);
  CHECK_FALSE(ends[1].clean());
  CHECK(ends[1].result().error().exit_code() == 8);
  // Known already: the handler still runs, from the next process().
  channel->on_closed([&](const ChannelEnd& end) { ends.push_back(end); });
  CHECK(ends.size() == 2);
  server.client().process();
  CHECK(ends.size() == 3);
}

TEST_CASE("finish and close of a channel") {
  ScriptServer server;
  std::optional<ChannelSocket> channel;
  server.client().connect_device("bob", "x",
                                 [&](Outcome<ChannelSocket> opened) { channel.emplace(std::move(*opened)); });
  server.reply(server.expect("channel.open"), open_result(5), numbered_fd(1));
  channel->finish();
  const auto finish = server.expect("channel.finish");
  CHECK(finish.params == Json{{"channel", 5}});
  server.reply(finish, Json::object());
  channel->close();
  CHECK(channel->fd() == -1);
  server.notify("channel.closed", closed_params(5, "closed"));
  CHECK(channel->wait_end(std::chrono::milliseconds(0))->clean());
  channel->finish();  // too late to mean anything
  CHECK(server.idle());
}

TEST_CASE("a callback may destroy its ChannelSocket, and open the next from the end of the last") {
  ScriptServer server;
  std::optional<ChannelSocket> channel;
  int opens = 0;
  std::function<void(Outcome<ChannelSocket>)> on_open = [&](Outcome<ChannelSocket> opened) {
    ++opens;
    channel.emplace(std::move(*opened));
    channel->on_closed([&](const ChannelEnd& end) {
      CHECK(end.bytes_in == 10);
      channel.reset();
      server.client().connect_device("bob", "next", on_open);
    });
  };
  server.client().connect_device("bob", "first", on_open);
  for (std::uint64_t handle = 1; handle <= 3; ++handle) {
    server.reply(server.expect("channel.open"), open_result(handle), numbered_fd(1));
    REQUIRE(channel);
    server.notify("channel.closed", closed_params(handle, "reset"));
    CHECK_FALSE(channel);
  }
  CHECK(opens == 3);
}

TEST_CASE("a destroyed ChannelSocket closes its fd and hears nothing") {
  ScriptServer server;
  const int before = count_open_fds();
  {
    std::optional<ChannelSocket> channel;
    server.client().connect_device("bob", "x",
                                   [&](Outcome<ChannelSocket> opened) { channel.emplace(std::move(*opened)); });
    server.reply(server.expect("channel.open"), open_result(5), numbered_fd(1));
    channel->on_closed([](const ChannelEnd&) { FAIL("called after destruction"); });
    CHECK(count_open_fds() == before + 1);
  }
  CHECK(count_open_fds() == before);
  server.notify("channel.closed", closed_params(5, "reset"));
}

TEST_CASE("auto listener: channels come with the notification, and only its own") {
  ScriptServer server;
  std::vector<ChannelSocket> channels;
  std::optional<std::uint64_t> listener;
  server.client().listen(
      "file://", {}, [&](ChannelSocket channel) { channels.push_back(std::move(channel)); },
      [&](Outcome<std::uint64_t> done) { listener = *done; });
  const auto add = server.expect("listen.add");
  // The reply and the first channel arrive together.
  server.send(reply_line(add.id, {{"listener", 3}}));
  Json opened = {{"listener", 3},  {"channel", 8},      {"peer", "p"},
                 {"account", "a"}, {"uri", "file://1"}, {"half_close", false}};
  server.notify("channel.opened", opened, numbered_fd(31));
  CHECK(listener == 3U);
  REQUIRE(channels.size() == 1);
  CHECK(channels[0].uri() == "file://1");
  CHECK(channels[0].device() == "p");
  CHECK_FALSE(channels[0].half_close());
  CHECK(number_in(channels[0].release_fd()) == 31);

  server.client().stop_listening(3);
  const int before = count_open_fds();
  opened["channel"] = 9;
  server.notify("channel.opened", opened, numbered_fd(32));
  CHECK(channels.size() == 1);
  CHECK(count_open_fds() == before);  // closed: to the peer that is a reset
  CHECK(server.expect("listen.remove").params == Json{{"listener", 3}});
}

TEST_CASE("asking listener: accept, decline, silence, and an opener that gives up") {
  ScriptServer server;
  std::vector<IncomingRequest> requests;
  server.client().listen_ask(
      "x", {}, [&](IncomingRequest request) { requests.push_back(std::move(request)); },
      [](const Outcome<std::uint64_t>&) {});
  const auto add = server.expect("listen.add");
  CHECK(add.params["mode"] == "ask");
  server.reply(add, {{"listener", 3}});
  const auto ask = [&](int number) {
    server.notify("channel.request",
                  {{"listener", 3}, {"request", number}, {"peer", "p"}, {"account", "a"}, {"uri", "x"}});
    REQUIRE(requests.size() == 1);
  };

  ask(1);
  std::optional<Outcome<ChannelSocket>> channel;
  requests[0].accept([&](Outcome<ChannelSocket> accepted) { channel.emplace(std::move(accepted)); });
  requests[0].decline();  // too late
  requests.clear();
  const auto accept = server.expect("channel.accept");
  CHECK(read_params<ChannelAcceptParams>(accept.params)->request == 1);
  server.reply(accept, open_result(4), numbered_fd(6));
  REQUIRE(channel);
  CHECK((*channel)->uri() == "x");
  CHECK(number_in((*channel)->release_fd()) == 6);

  ask(2);
  requests[0].decline("busy reading");
  requests.clear();
  CHECK(server.expect("channel.decline").params == Json{{"request", 2}, {"reason", "busy reading"}});

  ask(3);
  requests.clear();  // forgotten: declined
  CHECK(server.expect("channel.decline").params == Json{{"request", 3}});

  ask(4);
  CHECK_FALSE(requests[0].cancelled());
  server.notify("channel.request_cancelled", {{"request", 4}, {"reason", "cancelled"}});
  CHECK(requests[0].cancelled());
  channel.reset();
  requests[0].accept([&](Outcome<ChannelSocket> accepted) { channel.emplace(std::move(accepted)); });
  server.client().process();
  REQUIRE(channel);
  CHECK(channel->error().reason == Reason::kCancelled);
  CHECK(server.idle());
}

TEST_CASE("events: snapshot first, then deltas; a gap is told") {
  ScriptServer server;
  std::vector<std::string> seen;
  server.client().on_event(
      [&](const Event& event, const Json& members) {
        seen.push_back(std::to_string(event.seq) + " " + event.type + " " + members.value("peer", ""));
      },
      [&](Outcome<Snapshot> snapshot) { seen.push_back("snapshot " + std::to_string(snapshot->seq)); });
  const auto subscribe = server.expect("events.subscribe");
  Snapshot snapshot;
  snapshot.seq = 6;
  server.reply(subscribe, write_members(snapshot));
  server.notify("event", {{"seq", 7}, {"type", "connection.connected"}, {"time", 1.5}, {"peer", "p"}});
  server.notify("events.lost", {{"seq", 9}, {"lost", 2}});
  CHECK(seen == std::vector<std::string>{"snapshot 6", "7 connection.connected p", "9 events.lost "});
}

TEST_CASE("other notifications go to their own handler, unknown ones nowhere") {
  ScriptServer server;
  std::vector<std::uint64_t> requests;
  server.client().on_notification("connection.request", [&](const Json& params) {
    requests.push_back(read_result<ConnectionRequested>(params)->request);
  });
  server.notify("connection.request", {{"request", 5}, {"peer", "p"}, {"account", "a"}, {"trust", "unknown"}});
  server.notify("moon.phase", {{"full", true}});
  CHECK(requests == std::vector<std::uint64_t>{5});
  CHECK(server.client().connected());
}

TEST_CASE("a request that is too long is refused at home") {
  ScriptServer server;
  std::optional<Error> error;
  server.client().call("x", {{"fill", std::string(kMaxLineBytes, 'x')}},
                       [&](const Outcome<Json>& reply) { error = reply.error(); });
  CHECK_FALSE(error);  // never out of the call itself
  server.client().process();
  REQUIRE(error);
  CHECK(error->reason == Reason::kInvalidArgument);
  CHECK(server.idle());
}

TEST_CASE("a request with text that is not UTF-8 is refused at home, instead of asking something else") {
  struct Row {
    const char* method;
    Json params;
    const char* where;
  };
  for (const Row& row : {Row{"x", {{"passphrase", "correct h\xF6rse"}}, "passphrase: "},
                         Row{"x", {{"a", {1, {{"b", "\xC0\x80"}}}}}, "a: "}, Row{"x", {{"\xFF", 1}}, "name"},
                         Row{"x", {{"a", {{"\xFF", 1}}}}, "a: "}, Row{"\xFF", Json::object(), "method: "}}) {
    ScriptServer server;
    std::optional<Error> error;
    server.client().call(row.method, row.params, [&](const Outcome<Json>& reply) { error = reply.error(); });
    CHECK_FALSE(error);  // never out of the call itself
    CHECK(server.idle());
    REQUIRE(error);
    CHECK(error->reason == Reason::kInvalidArgument);
    CHECK(error->exit_code() == 2);
    CHECK(error->message.find(row.where) != std::string::npos);
    CHECK(error->message.find("UTF-8") != std::string::npos);
  }
  ScriptServer server;
  server.client().call("x", {{"a", {"caf\xC3\xA9", std::string("\0", 1)}}}, Client::ReplyHandler{});
  CHECK(server.expect("x").params["a"][0] == "caf\xC3\xA9");
}

TEST_CASE("a listener's name that is not UTF-8 is a bad name, as one to open is") {
  ScriptServer server;
  std::vector<Error> errors;
  const auto note = [&](const Outcome<std::uint64_t>& listener) { errors.push_back(listener.error()); };
  server.client().listen(
      "caf\xE9", {}, [](const ChannelSocket&) {}, note);
  server.client().listen_ask(
      "caf\xE9", {}, [](const IncomingRequest&) {}, note);
  CHECK(errors.empty());
  CHECK(server.idle());
  REQUIRE(errors.size() == 2);
  CHECK(errors[0] == make_error(Reason::kBadName));
  CHECK(errors[1] == make_error(Reason::kBadName));
}

TEST_CASE("a request is declined whatever the text: it is for people") {
  ScriptServer server;
  server.client().listen_ask(
      "x", {}, [](IncomingRequest request) { request.decline("no caf\xE9"); }, [](const Outcome<std::uint64_t>&) {});
  server.reply(server.expect("listen.add"), {{"listener", 3}});
  server.notify("channel.request", {{"listener", 3}, {"request", 9}, {"peer", "p"}, {"account", "a"}, {"uri", "x"}});
  CHECK(server.expect("channel.decline").params == Json{{"request", 9}, {"reason", "no caf\xEF\xBF\xBD"}});
}

TEST_CASE("requests that the daemon does not read are bounded") {
  ScriptServer server;
  int refused = 0;
  int sent = 0;
  const Json params = {{"fill", std::string(900'000, 'x')}};
  while (refused == 0 && sent < 100) {
    server.client().call("x", params, [&](const Outcome<Json>& reply) {
      CHECK(reply.error().reason == Reason::kResourceLimit);
      ++refused;
    });
    ++sent;
    server.client().process();
  }
  CHECK(refused == 1);
  CHECK(static_cast<std::size_t>(sent) * 900'000 > kMaxQueuedBytes);
  CHECK(server.client().connected());
}
