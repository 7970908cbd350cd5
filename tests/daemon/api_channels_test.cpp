// SPDX-License-Identifier: GPL-3.0-or-later
// Channels through two daemons in one process: real control sockets, ICE, TLS and mux.
#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/api_pair.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

TEST_CASE("two files over two channels: data both ways, and the end told once to each side") {
  Pair pair;
  pair.receiver.listen("file://*");
  auto [out1, in1] = pair.join("file://file1");
  auto [out2, in2] = pair.join("file://file2");
  CHECK(out1.device() == pair.bob.id.hex());
  CHECK(in1.device() == pair.alice.id.hex());
  CHECK(in1.account() == pair.alice.chain.account_id().hex());
  CHECK(in1.uri() == "file://file1");
  put(out1, "the first");
  put(out2, "the second");
  put(in2, "thanks");
  out1.finish();
  out2.finish();
  in1.finish();
  in2.finish();
  CHECK(take_all(pair, in1) == "the first");
  CHECK(take_all(pair, in2) == "the second");
  CHECK(take_all(pair, out2) == "thanks");
  CHECK(take_all(pair, out1) == "");
  for (const auto* channel : {&out1, &in1, &out2, &in2}) {
    const auto end = end_of(pair, *channel);
    REQUIRE(end);
    CHECK(end->reason == Reason::kClosed);
  }
  CHECK(out1.end()->bytes_out == 9);
  CHECK(in1.end()->bytes_in == 9);
  const auto list = pair.sender.call("connection.list");
  REQUIRE(list.ok());
  REQUIRE((*list)["connections"].size() == 1);
  const auto info = ipc::read_result<ipc::ConnectionInfo>((*list)["connections"][0]);
  REQUIRE(info.ok());
  CHECK(info->state == ipc::ConnectionState::kConnected);
  CHECK(info->direction == ipc::Direction::kOutgoing);
  CHECK(info->trust == ipc::Trust::kAllowed);
  CHECK(info->remote_address->starts_with("127.0.0.1:"));
}

TEST_CASE("with a strict end, a program that dies is a reset, not an end") {
  Pair pair;
  pair.receiver.listen("a");
  auto [out, in] = pair.join("a");
  put(out, "half of it");
  out.close();
  const auto end = end_of(pair, in);
  REQUIRE(end);
  CHECK(end->reason == Reason::kReset);
}

TEST_CASE("nobody listens; declined; accepted after being asked") {
  Pair pair;
  const auto nobody = pair.sender.open(pair.bob, "a");
  REQUIRE_FALSE(nobody.ok());
  CHECK(nobody.error().reason == Reason::kNoListener);
  CHECK(nobody.error().peer == pair.bob.id.hex());

  pair.receiver.listen_ask("a");
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  const auto open = [&] {
    pair.sender->connect_device(pair.bob.id.hex(), "a", [&](auto channel) { results.push_back(std::move(channel)); });
    REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  };
  open();
  CHECK(pair.receiver.requests[0].uri() == "a");
  pair.receiver.requests[0].decline("not now");
  REQUIRE(pair.run_until([&] { return results.size() == 1; }));
  REQUIRE_FALSE(results[0].ok());
  CHECK(results[0].error().reason == Reason::kDeclined);
  CHECK(results[0].error().detail == "not now");
  pair.receiver.requests.clear();

  open();
  std::vector<ipc::ChannelSocket> accepted;
  pair.receiver.requests[0].accept([&](auto channel) {
    if (channel.ok()) accepted.push_back(std::move(*channel));
  });
  REQUIRE(pair.run_until([&] { return results.size() == 2 && accepted.size() == 1; }));
  REQUIRE(results[1].ok());
  put(*results[1], "x");
  results[1]->finish();
  CHECK(take_all(pair, accepted[0]) == "x");
}

TEST_CASE("who does not answer in time has declined, and is told") {
  IpcSettings settings;
  settings.ask_time = std::chrono::milliseconds(300);
  Pair pair({}, with_ipc(settings));
  std::vector<Json> over;
  pair.receiver->on_notification("channel.request_cancelled", [&](const Json& params) { over.push_back(params); });
  REQUIRE(pair.receiver.call("listen.add", {{"uri", "a"}, {"mode", "ask"}}).ok());
  const auto result = pair.sender.open(pair.bob, "a");
  REQUIRE_FALSE(result.ok());
  CHECK(result.error().reason == Reason::kDeclined);
  CHECK(pair.receiver.reason_of("channel.accept", {{"request", 1}}) == Reason::kNotFound);
  CHECK(pair.bob.server->asked().size() == 0);
}

TEST_CASE("a request that the peer takes back is over") {
  Pair pair;
  pair.receiver.listen_ask("a");
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  pair.sender->connect_device(pair.bob.id.hex(), "a", [&](auto channel) { results.push_back(std::move(channel)); },
                              {.timeout_s = 5});
  REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  REQUIRE(pair.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].error().reason == Reason::kTimedOut);
  REQUIRE(pair.run_until([&] { return pair.receiver.requests[0].cancelled(); }));
}

TEST_CASE("channel.cancel: the open fails, once, and only its own client may") {
  Pair pair;
  ApiClient other(pair.world, pair.alice);
  pair.receiver.listen_ask("a");
  RawClient raw(pair.world, pair.alice.path());
  raw.write(ipc::request_line("mine", "channel.open", {{"peer", pair.bob.id.hex()}, {"uri", "a"}}) + "\n");
  REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  CHECK(other.reason_of("channel.cancel", {{"id", "mine"}}) == Reason::kNotFound);
  raw.write(ipc::request_line(2, "channel.cancel", {{"id", "mine"}}) + "\n");
  const Json first = raw.line();
  CHECK(first["id"] == "mine");
  CHECK(first["error"]["data"]["reason"] == "cancelled");
  CHECK(raw.line()["id"] == 2);
  raw.write(ipc::request_line(3, "channel.cancel", {{"id", "mine"}}) + "\n");
  CHECK(raw.line()["error"]["data"]["reason"] == "not-found");
  CHECK(pair.run_until([&] { return pair.receiver.requests[0].cancelled(); }));
}

TEST_CASE("a client's death takes back what it asked for; its channels live on") {
  Pair pair;
  pair.receiver.listen("a");
  pair.receiver.listen_ask("b");
  auto [out, in] = pair.join("a");
  pair.sender->connect_device(pair.bob.id.hex(), "b", [](auto) {});
  REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  const ipc::Fd kept = out.release_fd();
  pair.sender.leave();
  REQUIRE(pair.run_until([&] { return pair.receiver.requests[0].cancelled(); }));
  CHECK(pair.alice.manager->pending_opens() == 0);
  CHECK(pair.alice.manager->channels().size() == 1);
  REQUIRE(::send(kept.get(), "still here", 10, MSG_NOSIGNAL) == 10);
  std::string got;
  REQUIRE(pair.run_until([&] {
    char chunk[64];
    const ssize_t n = ::recv(in.fd(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0) got.append(chunk, static_cast<std::size_t>(n));
    return got == "still here";
  }));
  ApiClient other(pair.world, pair.alice);
  const auto list = other.call("channel.list");
  REQUIRE(list.ok());
  CHECK((*list)["channels"].size() == 1);
  CHECK((*list)["channels"][0]["uid"] == ::getuid());

  // The listener's program dies: whom it was asked about is refused.
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  other->connect_device(pair.bob.id.hex(), "b", [&](auto channel) { results.push_back(std::move(channel)); });
  pair.receiver.requests.clear();
  REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  pair.receiver.leave();
  REQUIRE(pair.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].error().reason == Reason::kDeclined);
}

TEST_CASE("a unique channel is joined by its client, and a duplicate to others") {
  Pair pair;
  pair.receiver.listen("a");
  auto first = pair.sender.open(pair.bob, "a", {.unique = true});
  REQUIRE(first.ok());
  const auto again = pair.sender.call("channel.open", {{"peer", pair.bob.id.hex()}, {"uri", "a"}, {"unique", true}});
  REQUIRE(again.ok());
  CHECK((*again)["channel"] == first->handle());
  CHECK_FALSE(again->contains("fds"));
  ApiClient other(pair.world, pair.alice);
  CHECK(other.reason_of("channel.open", {{"peer", pair.bob.id.hex()}, {"uri", "a"}, {"unique", true}}) ==
        Reason::kDuplicate);
  CHECK(other.call("channel.open", {{"peer", pair.bob.id.hex()}, {"uri", "a"}}).ok());
}

TEST_CASE("channel.close aborts: reset at the peer, cancelled here") {
  Pair pair;
  pair.receiver.listen("a");
  auto [out, in] = pair.join("a");
  REQUIRE(pair.sender.call("channel.close", {{"channel", out.handle()}}).ok());
  const auto mine = end_of(pair, out);
  const auto theirs = end_of(pair, in);
  REQUIRE((mine && theirs));
  CHECK(mine->reason == Reason::kCancelled);
  CHECK(theirs->reason == Reason::kReset);
  CHECK(pair.sender.reason_of("channel.close", {{"channel", out.handle()}}) == Reason::kNotFound);
  CHECK(pair.sender.reason_of("channel.finish", {{"channel", out.handle()}}) == Reason::kNotFound);
}
