// SPDX-License-Identifier: GPL-3.0-or-later
// daemon/connection/channel_table.h on connections by links in memory.
#include "daemon/connection/channel_table.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/daemon/manager_node.h"
#include "tests/daemon/memory_link.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::Reason;

namespace {

proto::DeviceId device(std::uint8_t byte) {
  proto::DeviceId id;
  id.bytes.fill(byte);
  return id;
}

/// One device: a table, and the connections that it has.
struct Device final : private MultiplexedSocket::Owner, private ChannelApps {
  explicit Device(World& the_world) : world(the_world), table(world.context, apps(), 1 << 20) {}

  MultiplexedSocket& connect(ConnectionNumber number, const std::shared_ptr<MemoryWire>& wire, bool client) {
    auto link = std::make_unique<MemoryLink>(world.loop, wire, client, device(static_cast<std::uint8_t>(number)));
    MultiplexedSocket::Owner& owner = *this;
    auto socket =
        std::make_unique<MultiplexedSocket>(world.context, owner, number, std::move(link), proto::MuxConfig{});
    socket->start();
    return *sockets.emplace(number, std::move(socket)).first->second;
  }

  World& world;
  ChannelTable table;
  std::map<ConnectionNumber, std::unique_ptr<MultiplexedSocket>> sockets;
  std::map<std::string, proto::ChannelHandle> asked;   ///< what peers asked for, by name
  std::map<std::string, proto::ChannelHandle> opened;  ///< ours that are open, by name
  std::map<proto::ChannelHandle, std::string> names;   ///< of ours
  std::vector<std::pair<proto::ChannelHandle, Reason>> cancelled;
  std::vector<ChannelEnd> ends;
  std::vector<ipc::Fd> fds;

  void open(MultiplexedSocket& socket, const std::string& name) {
    const auto made = socket.open(name, false);
    REQUIRE(made);
    names[made->channel] = name;
  }
  [[nodiscard]] std::vector<std::string> listed() const {
    std::vector<std::string> all;
    table.each([&](const ChannelView& view) { all.push_back(view.uri); });
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  ChannelApps& apps() { return *this; }
  void on_up(MultiplexedSocket&) override {}
  void on_channel_requested(MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri,
                            bool) override {
    table.requested(socket, channel, {}, uri);
    asked[uri] = channel;
  }
  void on_open_answered(MultiplexedSocket& socket, proto::ChannelHandle channel, Reason reason,
                        const std::string&) override {
    if (reason != Reason::kClosed) return;
    auto fd = socket.attach(channel, {});
    REQUIRE(fd);
    fds.push_back(std::move(*fd));
    table.opened(socket, channel, {}, names.at(channel));
    opened[names.at(channel)] = channel;
  }
  void on_request_cancelled(MultiplexedSocket&, proto::ChannelHandle channel, Reason reason) override {
    table.request_cancelled(channel, reason);
  }
  void on_channel_closed(MultiplexedSocket&, const ChannelEnd& end) override { table.ended(end); }
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle) const override { return false; }
  void on_channel_left(MultiplexedSocket&, std::unique_ptr<ChannelSocket>& channel) override { table.left(channel); }
  void on_going_away(MultiplexedSocket&) override {}
  void on_down(MultiplexedSocket& socket, Reason reason, const std::string&, std::error_code) override {
    table.connection_gone(socket, reason);
    world.loop.post([this, number = socket.number()] { sockets.erase(number); });
  }

  // ChannelApps
  void on_channel_requested(const IncomingChannel&) override {}
  void on_channel_request_cancelled(proto::ChannelHandle channel, Reason reason) override {
    cancelled.emplace_back(channel, reason);
  }
  void on_channel_closed(const ChannelEnd& end) override { ends.push_back(end); }
};

/// Alice and Bob, and two connections between them.
struct Pair {
  World world;
  Device alice{world}, bob{world};

  Pair() {
    for (const ConnectionNumber number : {1, 2}) {
      const auto wire = std::make_shared<MemoryWire>(world.loop, MemoryWire::Options{});
      alice.connect(number, wire, true);
      bob.connect(number, wire, false);
    }
    REQUIRE(world.run_until([&] {
      return std::all_of(alice.sockets.begin(), alice.sockets.end(),
                         [](const auto& s) { return s.second->usable(); }) &&
             std::all_of(bob.sockets.begin(), bob.sockets.end(), [](const auto& s) { return s.second->usable(); });
    }));
  }
  void open(ConnectionNumber connection, const std::string& name) {
    alice.open(*alice.sockets.at(connection), name);
    REQUIRE(world.run_until([&] { return bob.asked.contains(name); }));
  }
  void open_and_accept(ConnectionNumber connection, const std::string& name) {
    open(connection, name);
    auto fd = bob.table.accept(bob.asked.at(name), {});
    REQUIRE(std::holds_alternative<ipc::Fd>(fd));
    bob.fds.push_back(std::get<ipc::Fd>(std::move(fd)));
    REQUIRE(world.run_until([&] { return alice.opened.contains(name); }));
  }
};

}  // namespace

TEST_CASE("a request is accepted once, refused once, or over when the peer takes it back") {
  Pair pair;
  pair.open_and_accept(1, "accepted");
  const auto accepted = pair.bob.asked.at("accepted");
  CHECK(std::holds_alternative<OpenError>(pair.bob.table.accept(accepted, {})));
  pair.bob.table.refuse(accepted, Reason::kDeclined, "");  // too late: nothing happens
  CHECK(pair.bob.table.size() == 1);

  pair.open(1, "refused");
  pair.bob.table.refuse(pair.bob.asked.at("refused"), Reason::kDeclined, "no");
  CHECK(pair.bob.table.size() == 1);
  CHECK(pair.bob.cancelled.empty());

  pair.open(1, "taken back");
  const auto handle =
      std::find_if(pair.alice.names.begin(), pair.alice.names.end(), [](auto& n) { return n.second == "taken back"; });
  pair.alice.sockets.at(1)->cancel(handle->first, Reason::kCancelled);
  REQUIRE(pair.world.run_until([&] { return !pair.bob.cancelled.empty(); }));
  CHECK(pair.bob.cancelled.front().first == pair.bob.asked.at("taken back"));
  CHECK(std::holds_alternative<OpenError>(pair.bob.table.accept(pair.bob.asked.at("taken back"), {})));
  CHECK(pair.bob.table.begun() == 3);
  CHECK(pair.bob.listed() == std::vector<std::string>{"accepted"});
}

TEST_CASE("a channel that is closed ends once, on both sides, and is in no list any more") {
  Pair pair;
  pair.open_and_accept(1, "one");
  pair.open_and_accept(2, "two");
  CHECK(pair.alice.listed() == std::vector<std::string>{"one", "two"});
  CHECK(pair.bob.table.close(pair.bob.asked.at("one"), Reason::kCancelled, "enough"));
  REQUIRE(pair.world.run_until([&] { return !pair.bob.ends.empty() && !pair.alice.ends.empty(); }));
  CHECK(pair.bob.ends.size() == 1);
  CHECK(pair.alice.ends.size() == 1);
  CHECK(pair.alice.ends.front().reason == Reason::kReset);
  CHECK(pair.alice.table.reset() == 1);
  CHECK_FALSE(pair.bob.table.close(pair.bob.asked.at("one"), Reason::kCancelled, "again"));
  CHECK_FALSE(pair.bob.table.finish(pair.bob.asked.at("one")));
  CHECK_FALSE(pair.bob.table.attach(pair.bob.asked.at("one"), {}).ok());
  CHECK(pair.alice.listed() == std::vector<std::string>{"two"});
}

TEST_CASE("a connection takes its requests and channels with it, and no others") {
  Pair pair;
  pair.open_and_accept(1, "first");
  pair.open_and_accept(2, "second");
  pair.open(1, "asked on the first");
  pair.open(2, "asked on the second");
  pair.bob.sockets.at(1)->close_now(Reason::kCancelled, "enough");
  REQUIRE(pair.world.run_until([&] { return pair.bob.sockets.size() == 1 && pair.alice.sockets.size() == 1; }));
  CHECK(pair.bob.listed() == std::vector<std::string>{"second"});
  CHECK(pair.bob.table.size() == 2);  // with what is asked for on the second
  REQUIRE(pair.bob.cancelled.size() == 1);
  CHECK(pair.bob.cancelled.front().first == pair.bob.asked.at("asked on the first"));
  CHECK(pair.bob.ends.size() == 1);
  CHECK(pair.alice.listed() == std::vector<std::string>{"second"});
}

TEST_CASE("another scope of trust ends what the peer opened by the old one, of that connection alone") {
  Pair pair;
  for (const ConnectionNumber connection : {1, 2}) {
    const std::string on = " on " + std::to_string(connection);
    pair.open_and_accept(connection, "file" + on);
    pair.open_and_accept(connection, "chat" + on);
    pair.open(connection, "file, asked for" + on);
  }
  const auto files = TrustScope::of({{"file", true}});
  const auto chats = TrustScope::of({{"chat", true}});
  REQUIRE(files);
  REQUIRE(chats);
  pair.bob.table.scope_changed(*pair.bob.sockets.at(1), *files, *chats);
  REQUIRE(pair.world.run_until([&] { return pair.bob.ends.size() == 1 && pair.alice.ends.size() == 1; }));
  CHECK(pair.bob.ends.front().channel == pair.bob.asked.at("file on 1"));
  REQUIRE(pair.bob.cancelled.size() == 1);
  CHECK(pair.bob.cancelled.front() == std::pair(pair.bob.asked.at("file, asked for on 1"), Reason::kNotPermitted));
  CHECK(pair.bob.listed() == std::vector<std::string>{"chat on 1", "chat on 2", "file on 2"});
  // What Alice opened is hers to end.
  pair.alice.table.scope_changed(*pair.alice.sockets.at(2), *files, *chats);
  CHECK(pair.alice.table.size() == 3);
}

TEST_CASE("one channel is seen by its handle, with what it has moved") {
  Pair pair;
  pair.open_and_accept(1, "one");
  REQUIRE(::write(pair.alice.fds.front().get(), "hello", 5) == 5);
  const auto channel = pair.bob.asked.at("one");
  std::uint64_t bytes = 0;
  REQUIRE(pair.world.run_until([&] {
    pair.bob.table.see(channel, [&](const ChannelView& view) {
      CHECK_FALSE(view.outgoing);
      CHECK(view.device == pair.bob.sockets.at(1)->peer());
      bytes = view.bytes_in;
    });
    return bytes == 5;
  }));
  pair.bob.table.see(channel + 1'000, [&](const ChannelView&) { FAIL("there is none"); });
}
