// SPDX-License-Identifier: GPL-3.0-or-later
#include "daemon/connection/left_channels.h"

#include <algorithm>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "tests/daemon/manager_node.h"

using namespace connd;
using namespace connd::daemon;
using namespace connd::test;
using proto::Reason;

namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

/// Alice's program reads nothing, and has said all it has to say; Bob's has written more than her socket takes, and has
/// ended, too.
struct SlowReader : Two {
  SlowReader() { channels.push_back(held_back()); }

  struct Held {
    OpenResult result;
    std::string sent;
    std::string got;  ///< before the connection goes
  };
  Held held_back() {
    Held held{alice.open(bob, "x"), std::string(480'000, ' '), {}};
    for (std::size_t i = 0; i < held.sent.size(); ++i) held.sent[i] = static_cast<char>(i * 31 % 251);
    OpenedChannel& a = opened(held.result);
    ipc::Fd b = std::move(bob.accepted.back().fd);
    REQUIRE(shutdown(a.fd.get(), SHUT_WR) == 0);
    CHECK(read_to_end(world, b.get()).empty());
    // She reads a little at a time, so that Bob gets credit for all; until at hers, too, both directions have ended.
    std::size_t written = 0;
    REQUIRE(world.run_until([&] {
      world.loop.post([] {});
      const std::string_view rest = std::string_view(held.sent).substr(written);
      if (b)
        written +=
            static_cast<std::size_t>(std::max<ssize_t>(0, ::send(b.get(), rest.data(), rest.size(), MSG_DONTWAIT)));
      if (written == held.sent.size()) b.reset();
      std::size_t on_wire = 1;
      alice.manager->each_connection([&](const auto& view) { on_wire = view.socket->mux_state()->channel_count(); });
      if (on_wire == 0) return true;
      char chunk[1'024];
      const ssize_t n = ::recv(a.fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (n > 0) held.got.append(chunk, static_cast<std::size_t>(n));
      return false;
    }));
    REQUIRE(alice.ended.empty());
    return held;
  }
  /// Bob closes; Alice has noticed.
  void lose_connection() {
    CHECK(bob.manager->close_connections(alice.id, Reason::kClosed, {}) == 1);
    REQUIRE(world.run_until([&] { return alice.events("connection.closed") == 1; }));
  }
  OpenedChannel& channel() { return opened(channels[0].result); }
  std::size_t listed() const {
    std::size_t count = 0;
    alice.manager->channels().each([&](const ChannelView& view) { count += view.device == bob.id ? 1 : 0; });
    return count;
  }

  std::vector<Held> channels;
};

}  // namespace

TEST_CASE("C1, B6: what a channel that has ended holds is delivered also after its connection has gone") {
  SlowReader slow;
  slow.lose_connection();
  CHECK(slow.alice.ended.empty());
  CHECK(slow.alice.manager->connection_count() == 0);
  CHECK(slow.listed() == 1);
  // The peer is reached anew meanwhile.
  auto next = slow.alice.open(slow.bob, "x", true);
  opened(next).fd.reset();

  const std::string rest = read_to_end(slow.world, slow.channel().fd.get());
  CHECK((slow.channels[0].got + rest == slow.channels[0].sent));
  const auto ends = [&] {
    return std::count_if(slow.alice.ended.begin(), slow.alice.ended.end(),
                         [&](const ChannelEnd& end) { return end.channel == slow.channel().channel; });
  };
  REQUIRE(slow.world.run_until([&] { return ends() > 0; }));
  CHECK(ends() == 1);
  for (const ChannelEnd& end : slow.alice.ended) {
    if (end.channel != slow.channel().channel) continue;
    CHECK((end.reason == Reason::kClosed));
    CHECK(end.bytes_in == slow.channels[0].sent.size());
  }
  CHECK(slow.listed() + slow.alice.ended.size() == 2);
}

TEST_CASE("C9: a shutdown does not wait for an app that does not read, also when the connection has gone before") {
  SlowReader slow;
  const bool gone_before = GENERATE(true, false);
  if (gone_before) slow.lose_connection();
  bool done = false;
  slow.alice.manager->shut_down([&] { done = true; });
  REQUIRE(slow.world.run_until([&] { return done; }));
  REQUIRE(slow.alice.ended.size() == 1);
  CHECK((slow.alice.ended[0].reason == Reason::kShuttingDown));
  CHECK(slow.alice.manager->channels().size() == 0);
}

TEST_CASE("a channel that was left is ended by its app that goes, and by channel.close") {
  SlowReader slow;
  slow.lose_connection();
  const bool app_goes = GENERATE(true, false);
  CHECK(slow.alice.manager->channels().finish(slow.channel().channel));
  if (app_goes) {
    slow.channel().fd.reset();
  } else {
    CHECK(slow.alice.manager->channels().close(slow.channel().channel, Reason::kCancelled, "enough"));
  }
  REQUIRE(slow.world.run_until([&] { return slow.alice.ended.size() == 1; }));
  CHECK((slow.alice.ended[0].reason == Reason::kCancelled));
  CHECK_FALSE(slow.alice.manager->channels().close(slow.channel().channel, Reason::kCancelled, "again"));
  CHECK(slow.listed() == 0);
}

TEST_CASE("channels that were left hold no more than one connection may") {
  /// Never asked by a channel that does nothing.
  struct NoHost final : ChannelHost {
    explicit NoHost(World& w) : world(w), dialect_mux({}, proto::jami_dialect(), w.handles.channels, w.loop.now()) {}
    proto::Mux& mux() override { return dialect_mux; }
    Loop& loop() override { return world.loop; }
    [[nodiscard]] proto::TimePoint now() const override { return world.loop.now(); }
    void channel_has_work() override {}
    [[nodiscard]] bool finish_may_come(proto::ChannelHandle) const override { return false; }
    void channel_over(ChannelSocket&, Reason, std::string_view) override { FAIL("it goes on"); }
    World& world;
    proto::Mux dialect_mux;
  };
  World world;
  NoHost host(world);
  std::vector<ChannelEnd> ends;
  LeftChannels left(world.turns, kMaxBytes, [&](const ChannelEnd& end) { ends.push_back(end); });
  const proto::ByteVector bytes(std::size_t{10} << 20, 'x');
  std::vector<ipc::Fd> apps;
  std::size_t held = 0;
  bool taken = true;
  for (proto::ChannelHandle handle = 1; taken; ++handle) {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    apps.emplace_back(fds[1]);
    // The app's socket is full: all is held, and no credit goes back.
    while (::send(fds[0], bytes.data(), 65'536, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    auto channel = std::make_unique<ChannelSocket>(host, handle, ipc::Fd(fds[0]), ChannelOptions{});
    REQUIRE(channel->start(world.poller).ok());
    channel->deliver(bytes);
    channel->peer_ended();  // without half close: both directions
    REQUIRE(channel->ended_on_wire());
    const std::size_t more = channel->held();
    taken = left.take(channel);
    CHECK(taken == (channel == nullptr));
    if (taken) held += more;
    if (!taken) CHECK(held + more > kMaxBytes);
    if (channel) channel->shut();
  }
  CHECK(held <= kMaxBytes);
  left.close_all(Reason::kShuttingDown, {});
  CHECK(ends.size() == apps.size() - 1);
}
