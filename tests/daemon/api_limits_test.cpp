// SPDX-License-Identifier: GPL-3.0-or-later
// How many channels and opens there may be, and opens that cannot be.
#include <cstring>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "daemon/system/fd_limits.h"
#include "tests/daemon/api_pair.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

TEST_CASE("hundreds of opens in flight on one socket: each fd comes with its own line") {
  Pair pair;
  pair.receiver.listen("n*");
  // Three times what may be on its way to one client. Both ends of all are in this process: they fit under 1,024.
  constexpr std::size_t kMany = 200;
  std::map<std::string, ipc::ChannelSocket> opened;
  for (std::size_t i = 0; i < kMany; ++i) {
    const std::string uri = "n" + std::to_string(i);
    pair.sender->connect_device(pair.bob.id.hex(), uri, [&opened, uri](auto channel) {
      if (channel.ok()) opened.emplace(uri, std::move(*channel));
    });
  }
  REQUIRE(pair.run_until([&] { return opened.size() == kMany && pair.receiver.opened.size() == kMany; }));
  for (const auto& [uri, channel] : opened) put(channel, uri);
  for (const ipc::ChannelSocket& in : pair.receiver.opened) {
    std::string got;
    REQUIRE(pair.run_until([&] {
      char chunk[64];
      const ssize_t n = ::recv(in.fd(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (n > 0) got.append(chunk, static_cast<std::size_t>(n));
      return got.size() >= in.uri().size();
    }));
    CHECK(got == in.uri());
  }
}

TEST_CASE("channels whose fds cannot be sent yet are not accepted yet: there are few descriptors more than channels") {
  // 64 are on their way to a client that does not read, as many are ready for it.
  constexpr std::size_t kAhead = ipc::kMaxUncollectedFds + FdLimits::kTransient;
  const std::size_t later = GENERATE(1, 100);
  const std::size_t many = kAhead + later;
  IpcSettings settings;
  settings.max_channels = kAhead;
  Pair pair({}, with_ipc(settings));
  auto slow = std::make_unique<RawClient>(pair.world, pair.bob.path());
  slow->write(ipc::request_line(1, "listen.add", {{"uri", "n"}, {"prefix", true}}) + "\n");
  CHECK(slow->line().contains("result"));
  pair.receiver.listen("other");
  (void)pair.join("other");  // the connection is up: opens that wait for one are overtaken by those that need not
  REQUIRE(pair.run_until([&] { return pair.bob.manager->channels().size() == 0; }));
  std::vector<ipc::ChannelSocket> opened;
  std::size_t declined = 0;
  for (std::size_t i = 0; i < many; ++i) {
    pair.sender->connect_device(pair.bob.id.hex(), "n" + std::to_string(i), [&](auto channel) {
      if (channel.ok()) return opened.push_back(std::move(*channel));
      declined += channel.error().reason == Reason::kDeclined ? 1 : 0;
    });
  }
  // Others' go on, and this one's request comes behind all of those.
  (void)pair.join("other");
  REQUIRE(pair.run_until([&] { return opened.size() >= kAhead; }));
  CHECK(opened.size() == kAhead);
  SECTION("it reads: all come, in their order") {
    for (std::size_t i = 0; i < many; ++i) {
      const Json line = slow->line();
      REQUIRE(line.value("method", "") == "channel.opened");
      CHECK(line["params"].value("uri", "") == "n" + std::to_string(i));
    }
    CHECK(pair.run_until([&] { return opened.size() == many; }));
  }
  SECTION("it goes: they are declined") {
    slow.reset();
    // One that its end makes room for may still be accepted, and ends at once.
    CHECK(pair.run_until([&] { return opened.size() + declined == many; }));
    CHECK(declined + 1 >= later);
  }
  SECTION("it listens no more: so are they") {
    slow->write(ipc::request_line(2, "listen.remove", {{"listener", 1}}) + "\n");
    CHECK(pair.run_until([&] { return declined == later; }));
  }
  SECTION("they are taken back: nobody hears of them") {
    CHECK(pair.bob.server->held().size() == later);
    opened.clear();
    pair.sender.leave();
    REQUIRE(pair.run_until([&] { return pair.bob.server->held().size() == 0; }));
    for (const char* what : {"channel.opened", "channel.closed"}) {
      for (std::size_t i = 0; i < kAhead; ++i) CHECK(slow->line().value("method", "") == what);
    }
  }
}

TEST_CASE("a client has as many channels as it may") {
  IpcSettings settings;
  settings.max_channels_per_client = 2;
  Pair pair(with_ipc(settings), {});
  pair.receiver.listen("a");
  auto first = pair.join("a");
  auto second = pair.join("a");
  CHECK(pair.sender.reason_of("channel.open", {{"peer", pair.bob.id.hex()}, {"uri", "a"}}) == Reason::kResourceLimit);
  first.first.close();
  REQUIRE(end_of(pair, first.first));
  CHECK(pair.sender.open(pair.bob, "a").ok());
}

TEST_CASE("a listener's client has as many channels as it may, those it was asked about among them") {
  IpcSettings settings;
  settings.max_channels_per_client = 2;
  Pair pair({}, with_ipc(settings));
  pair.receiver.listen("auto");
  pair.receiver.listen_ask("ask");
  const auto join = pair.join("auto");
  const Json ask = {{"peer", pair.bob.id.hex()}, {"uri", "ask"}};
  pair.sender->call("channel.open", ask, [](const auto&) {});
  REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  CHECK(pair.sender.reason_of("channel.open", ask) == Reason::kBusy);
  CHECK(pair.sender.reason_of("channel.open", {{"peer", pair.bob.id.hex()}, {"uri", "auto"}}) == Reason::kBusy);
}

TEST_CASE("a client's opens that wait and the requests that it was asked about count together") {
  IpcSettings settings;
  settings.max_channels_per_client = 2;
  Pair pair({}, with_ipc(settings));
  pair.receiver.listen_ask("ask");
  pair.sender.listen_ask("ask");
  const Json to_alice = {{"peer", pair.alice.id.hex()}, {"uri", "ask"}};
  const Json to_bob = {{"peer", pair.bob.id.hex()}, {"uri", "ask"}};
  pair.receiver->call("channel.open", to_alice, [](const auto&) {});
  pair.sender->call("channel.open", to_bob, [](const auto&) {});
  REQUIRE(pair.run_until([&] { return !pair.sender.requests.empty() && !pair.receiver.requests.empty(); }));
  CHECK(pair.receiver.reason_of("channel.open", to_alice) == Reason::kResourceLimit);
  CHECK(pair.sender.reason_of("channel.open", to_bob) == Reason::kBusy);
}

TEST_CASE("opens that cannot be") {
  Pair pair;
  CHECK(pair.sender.reason_of("channel.open", {{"peer", "nobody"}, {"uri", "a"}}) == Reason::kNotFound);
  CHECK(pair.sender.reason_of("channel.open", {{"peer", pair.alice.id.hex()}, {"uri", "a"}}) ==
        Reason::kInvalidArgument);
  CHECK(pair.sender.reason_of("channel.open", {{"peer", pair.bob.id.hex()}}) == Reason::kInvalidArgument);
  CHECK(pair.sender.reason_of("channel.open", {{"peer", pair.bob.id.hex()}, {"uri", "a"}, {"timeout", 0}}) ==
        Reason::kInvalidArgument);
  CHECK(pair.sender.reason_of("channel.open", {{"peer", std::string(64, 'c')}, {"uri", "a"}, {"timeout", 0.5}}) ==
        Reason::kNotFound);
}
