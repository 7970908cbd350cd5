// SPDX-License-Identifier: GPL-3.0-or-later
/// ConnectionParts: the parts of a MultiplexedSocket on a link in memory, without what joins them: a test says when
/// output is made, and when the connection ends.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include "daemon/connection/good_bye.h"
#include "tests/daemon/manager_node.h"
#include "tests/daemon/memory_link.h"

namespace connd::test {

class ConnectionParts final : private daemon::Link::Owner, private daemon::ConnectionChannels::Owner {
 public:
  ConnectionParts(World& the_world, const std::shared_ptr<MemoryWire>& wire, bool client)
      : link(the_world.loop, wire, client, {}),
        life(client ? 1 : 2, {}),
        channels(the_world.context, *this, life),
        output(link, channels, life),
        good_bye(link, output, channels, life),
        world_(the_world),
        client_(client) {
    REQUIRE(link.start(*this));
  }

  /// Once a turn: what is to be said goes out. What follows comes in turns of its own.
  void turn() {
    channels.sweep();
    if (!life.ending()) {
      const auto more = output.send();
      REQUIRE(more);
    }
    world_.loop.post([] {});
  }
  proto::ChannelHandle open(const std::string& name) {
    const auto made = mux->open(name, false, world_.loop.now());
    REQUIRE(made);
    return made->channel;
  }

  daemon::ConnectionContext& context() { return world_.context; }

  MemoryLink link;
  daemon::ConnectionLife life;
  std::unique_ptr<proto::Mux> mux;  ///< once the link is secured
  daemon::ConnectionChannels channels;
  daemon::OutputPump output;
  daemon::GoodBye good_bye;
  daemon::ChannelOptions options;
  bool takes = true;                        ///< what it is asked for is accepted, and what it has opened attached
  std::vector<proto::ChannelHandle> asked;  ///< by the peer
  std::vector<ipc::Fd> fds;                 ///< of apps
  std::vector<daemon::ChannelEnd> ends;
  std::vector<std::unique_ptr<daemon::ChannelSocket>> left;
  bool takes_left = false;

 private:
  void link_ready(bool readable, bool /*writable*/) override {
    if (!readable) return;
    const auto status = link.receive(daemon::PumpScratch::kBytes);
    if (status && *status == daemon::Link::Status::kMore) link.again();
  }
  proto::Result<void> link_secured() override {
    proto::MuxConfig config;
    config.side = client_ ? proto::MuxSide::kClient : proto::MuxSide::kServer;
    mux = std::make_unique<proto::Mux>(config, link.native() ? proto::native_dialect() : proto::jami_dialect(),
                                       world_.handles.channels, world_.loop.now());
    channels.begin(*mux);
    output.begin(*mux);
    life.move_to(daemon::ConnectionState::kUp);
    return {};
  }
  void link_heard() override {}
  proto::Result<void> link_plain(proto::Bytes plain) override {
    mux->feed(plain, world_.loop.now());
    for (;;) {
      const auto event = mux->next_event(world_.loop.now());
      if (!event) return event.error();
      if (!*event) return {};
      on_event(**event);
    }
  }
  void on_event(const proto::MuxEvent& event) {
    using Kind = proto::MuxEvent::Kind;
    if (event.kind == Kind::kRequested) asked.push_back(event.channel);
    if (event.kind == Kind::kRequested && takes) take(channels.accept(event.channel, options));
    if (event.kind == Kind::kOpened && takes) take(channels.attach(event.channel, options));
    if (event.kind == Kind::kData || event.kind == Kind::kEnd || event.kind == Kind::kReset) channels.on_event(event);
  }
  void take(proto::Result<ipc::Fd> fd) {
    REQUIRE(fd);
    fds.push_back(std::move(*fd));
  }
  void channels_have_work() override {}
  void channel_closed(const daemon::ChannelEnd& end) override { ends.push_back(end); }
  void channel_left(std::unique_ptr<daemon::ChannelSocket>& channel) override {
    if (takes_left) left.push_back(std::move(channel));
  }
  [[nodiscard]] bool channel_may_finish(proto::ChannelHandle) const override { return false; }

  World& world_;
  const bool client_;
};

/// Two of them on one wire.
struct ConnectionPartsPair {
  World world;
  std::shared_ptr<MemoryWire> wire;
  ConnectionParts alice, bob;

  explicit ConnectionPartsPair(const MemoryWire::Options& options = {})
      : wire(std::make_shared<MemoryWire>(world.loop, options)), alice(world, wire, true), bob(world, wire, false) {
    REQUIRE(alice.output.send());  // the handshake goes first
    REQUIRE(bob.output.send());
    REQUIRE(run([this] { return alice.mux && bob.mux && alice.mux->hello_received() && bob.mux->hello_received(); }));
  }
  /// Turns until `done`.
  bool run(const std::function<bool()>& done) {
    return world.run_until([&] {
      alice.turn();
      bob.turn();
      return done();
    });
  }
  /// A channel from Alice to Bob, both of whose apps have their fds; their index.
  std::size_t open_channel() {
    const std::size_t index = alice.fds.size();
    (void)alice.open("x");
    REQUIRE(run([&] { return alice.fds.size() > index && bob.fds.size() > index; }));
    return index;
  }
};

/// What an fd has to read.
inline std::string read_all(const ipc::Fd& fd) {
  std::string text;
  char chunk[4096];
  for (;;) {
    const ssize_t n = ::recv(fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n <= 0) return text;
    text.append(chunk, static_cast<std::size_t>(n));
  }
}
inline void write_all(const ipc::Fd& fd, const std::string& text) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
}

}  // namespace connd::test
