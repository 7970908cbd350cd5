// SPDX-License-Identifier: GPL-3.0-or-later
// Channels through two daemons in one process: real control sockets, ICE, TLS and mux.
#include <algorithm>
#include <cstring>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/api_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using ipc::Json;
using ipc::Reason;

namespace {

/// Two devices that allow each other, and a program at each.
struct Pair {
  explicit Pair(ApiNode::Options alice_options = {}, ApiNode::Options bob_options = {})
      : alice(world, 0, std::move(alice_options)), bob(world, 1, std::move(bob_options)) {
    alice.allow(bob);
    bob.allow(alice);
  }
  bool run_until(const std::function<bool()>& done) { return world.run_until(done); }
  /// Opens `uri` to what `receiver` listens for: both ends.
  std::pair<ipc::ChannelSocket, ipc::ChannelSocket> join(const std::string& uri) {
    auto opened = sender.open(bob, uri);
    REQUIRE(opened.ok());
    REQUIRE(run_until([&] { return !receiver.opened.empty(); }));
    ipc::ChannelSocket other = std::move(receiver.opened.back());
    receiver.opened.pop_back();
    return {std::move(*opened), std::move(other)};
  }

  ApiWorld world;
  ApiNode alice;
  ApiNode bob;
  ApiClient sender{world, alice};
  ApiClient receiver{world, bob};
};

void put(const ipc::ChannelSocket& channel, const std::string& text) {
  REQUIRE(::send(channel.fd(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
}
/// Until EOF; nothing when that is an error, or does not come.
std::optional<std::string> take_all(Pair& pair, const ipc::ChannelSocket& channel) {
  std::string out;
  ssize_t n = -1;
  const bool ended = pair.run_until([&] {
    char chunk[4'096];
    while ((n = ::recv(channel.fd(), chunk, sizeof chunk, MSG_DONTWAIT)) > 0)
      out.append(chunk, static_cast<std::size_t>(n));
    return n == 0 || errno != EAGAIN;
  });
  if (!ended || n != 0) return std::nullopt;
  return out;
}
std::optional<ipc::ChannelEnd> end_of(Pair& pair, const ipc::ChannelSocket& channel) {
  (void)pair.run_until([&] { return channel.end().has_value(); });
  return channel.end();
}
ApiNode::Options with_policy(IceRequestPolicy policy) {
  return {.manager = true, .policy = policy, .ipc = {}};
}
ApiNode::Options with_ipc(IpcSettings settings) {
  return {.manager = true, .policy = IceRequestPolicy::kTrusted, .ipc = std::move(settings)};
}

}  // namespace

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
                              {.timeout_s = 2});
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

TEST_CASE("fault E2: an open that comes before the network is there waits for it") {
  ApiWorld world;
  ApiNode::Options not_yet;
  not_yet.manager = false;
  ApiNode alice(world, 0, not_yet);
  ApiNode bob(world, 1);
  bob.allow(alice);
  ApiClient receiver(world, bob);
  receiver.listen("a");
  ApiClient sender(world, alice);
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  const auto keep = [&](auto channel) { results.push_back(std::move(channel)); };
  sender->connect_device(bob.id.hex(), "a", keep, {.timeout_s = 20});
  // One whose time is over first hears so, and why.
  sender->connect_device(bob.id.hex(), "a", keep, {.timeout_s = 0.05});
  REQUIRE(world.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].error().reason == Reason::kNotReady);
  alice.start_manager();
  REQUIRE(world.run_until([&] { return results.size() == 2 && receiver.opened.size() == 1; }));
  CHECK(results[1].ok());
}

TEST_CASE("fault E2: what waits for the start may be taken back, goes with its client, and is bounded") {
  ApiWorld world;
  ApiNode::Options not_yet;
  not_yet.manager = false;
  ApiNode alice(world, 0, not_yet);
  const std::string peer(64, 'a');
  RawClient raw(world, alice.path());
  raw.write(ipc::request_line("mine", "channel.open", {{"peer", peer}, {"uri", "a"}}) + "\n");
  ApiClient other(world, alice);
  CHECK(other.reason_of("channel.cancel", {{"id", "mine"}}) == Reason::kNotFound);
  raw.write(ipc::request_line(2, "channel.cancel", {{"id", "mine"}}) + "\n");
  const Json first = raw.line();
  CHECK(first["id"] == "mine");
  CHECK(first["error"]["data"]["reason"] == "cancelled");
  CHECK(raw.line()["id"] == 2);
  {
    RawClient leaves(world, alice.path());
    leaves.write(ipc::request_line(1, "channel.open", {{"peer", peer}, {"uri", "a"}}) + "\n");
    CHECK(other.reason_of("channel.cancel", {{"id", 1}}) == Reason::kNotFound);  // it was read by then
  }
  std::string many;
  for (std::size_t i = 0; i <= ipc::kMaxRequestsInFlight; ++i) {
    many += ipc::request_line(static_cast<int>(i), "channel.open", {{"peer", peer}, {"uri", "a"}}) + "\n";
  }
  raw.write(many);
  const Json refused = raw.line();
  CHECK(refused["id"] == ipc::kMaxRequestsInFlight);
  CHECK(refused["error"]["data"]["reason"] == "resource-limit");
  // Those that are left end with the daemon.
  bool over = false;
  alice.server->shut_down([&] { over = true; });
  for (std::size_t i = 0; i < ipc::kMaxRequestsInFlight; ++i) {
    CHECK(raw.line()["error"]["data"]["reason"] == "shutting-down");
  }
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
  CHECK(pair.alice.manager->channel_count() == 1);
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

TEST_CASE("a ban ends the connection now, and opens to the banned fail") {
  Pair pair;
  pair.receiver.listen("a");
  auto [out, in] = pair.join("a");
  REQUIRE(pair.sender.call("trust.ban", {{"id", pair.bob.id.hex()}}).ok());
  const auto mine = end_of(pair, out);
  REQUIRE(mine);
  CHECK(proto::reason_info(mine->reason).exit_code != 0);
  REQUIRE(end_of(pair, in));
  const auto opened = pair.sender.open(pair.bob, "a");
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().reason == Reason::kBanned);
}

TEST_CASE("connection.close ends channels and pending opens") {
  Pair pair;
  pair.receiver.listen("a");
  pair.receiver.listen_ask("b");
  auto [out, in] = pair.join("a");
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  pair.sender->connect_device(pair.bob.id.hex(), "b", [&](auto channel) { results.push_back(std::move(channel)); });
  REQUIRE(pair.run_until([&] { return !pair.receiver.requests.empty(); }));
  const auto closed = pair.sender.call("connection.close", {{"peer", pair.bob.chain.account_id().hex()}});
  REQUIRE(closed.ok());
  CHECK((*closed)["closed"] == 1);
  const auto end = end_of(pair, out);
  REQUIRE(end);
  CHECK(end->reason == Reason::kConnectionLost);
  REQUIRE(pair.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].error().reason == Reason::kCancelled);
  CHECK(pair.sender.reason_of("connection.close", {{"peer", "nobody"}}) == Reason::kNotFound);
}

TEST_CASE("a peer that is not allowed reaches only listeners that say so") {
  Pair pair;
  // Alice has dialled Bob, whom she has not allowed: his requests come over that connection.
  REQUIRE(pair.alice.stores.trust.unset(TrustSubject(pair.bob.id)).ok());
  pair.receiver.listen("a");
  auto [out, in] = pair.join("a");
  pair.sender.listen("closed");
  pair.sender.listen("open", "any");
  pair.sender.listen("named", Json::array({pair.bob.id.hex()}));
  const auto reason = [&](const std::string& uri) {
    const auto opened = pair.receiver.open(pair.alice, uri);
    return opened.ok() ? Reason::kClosed : opened.error().reason;
  };
  CHECK(reason("closed") == Reason::kNotPermitted);
  CHECK(reason("nothing") == Reason::kNotPermitted);
  CHECK(reason("open") == Reason::kClosed);
  CHECK(reason("named") == Reason::kClosed);
}

TEST_CASE("the policy's owner is asked about unknown peers") {
  Pair pair({}, with_policy(IceRequestPolicy::kAsk));
  REQUIRE(pair.bob.stores.trust.unset(TrustSubject(pair.alice.id)).ok());
  pair.receiver.listen("a", "any");
  std::vector<Json> asked;
  pair.receiver->on_notification("connection.request", [&](const Json& params) { asked.push_back(params); });
  REQUIRE(pair.receiver.call("policy.register").ok());
  std::vector<ipc::Outcome<ipc::ChannelSocket>> results;
  pair.sender->connect_device(pair.bob.id.hex(), "a", [&](auto channel) { results.push_back(std::move(channel)); });
  REQUIRE(pair.run_until([&] { return asked.size() == 1; }));
  CHECK(asked[0]["peer"] == pair.alice.id.hex());
  CHECK(asked[0]["trust"] == "unknown");
  REQUIRE(pair.receiver.call("connection.accept", {{"request", asked[0]["request"]}}).ok());
  CHECK(pair.receiver.reason_of("connection.accept", {{"request", asked[0]["request"]}}) == Reason::kNotFound);
  REQUIRE(pair.run_until([&] { return results.size() == 1; }));
  CHECK(results[0].ok());
}

TEST_CASE("events come in order, numbered one by one") {
  Pair pair;
  const auto snapshot = pair.sender.subscribe();
  CHECK(snapshot.connections.empty());
  pair.receiver.listen("a");
  {
    auto [out, in] = pair.join("a");
    out.finish();
    in.finish();
    REQUIRE(end_of(pair, out));
  }
  REQUIRE(pair.run_until([&] { return !pair.sender.seen_of("channel.closed").empty(); }));
  std::vector<std::string> types;
  std::uint64_t seq = snapshot.seq;
  for (const auto& [type, members] : pair.sender.seen) {
    CHECK(members["seq"] == ++seq);
    if (type != "connection.progress") types.push_back(type);
  }
  CHECK(types ==
        std::vector<std::string>{"connection.connecting", "connection.connected", "channel.opened", "channel.closed"});
  const Json connected = pair.sender.seen_of("connection.connected")[0];
  CHECK(ipc::read_result<ipc::ConnectionInfo>(connected).ok());
  CHECK(connected["first"] == true);
  CHECK(connected["certificate"].get<std::string>().starts_with("-----BEGIN CERTIFICATE"));
  CHECK(ipc::read_result<ipc::ChannelInfo>(pair.sender.seen_of("channel.opened")[0]).ok());
  CHECK(pair.sender.seen_of("channel.closed")[0]["uri"] == "a");
  const Json progress = pair.sender.seen_of("connection.progress")[0];
  CHECK(progress["state"].is_string());
  CHECK(progress["after_ms"].is_number());
}

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
