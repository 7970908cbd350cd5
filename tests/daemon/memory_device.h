// SPDX-License-Identifier: GPL-3.0-or-later
/// MemoryDevice: a ChannelTable with connections by links in memory, and a local side that writes down what it is told.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "daemon/connection/channel_table.h"
#include "tests/daemon/manager_node.h"
#include "tests/daemon/memory_link.h"

namespace connd::test {

inline proto::DeviceId device_of(std::uint8_t byte) {
  proto::DeviceId id;
  id.bytes.fill(byte);
  return id;
}

/// One device: a table, and the connections that it has.
struct MemoryDevice final : private daemon::MultiplexedSocket::Owner, private daemon::ChannelApps {
  explicit MemoryDevice(World& the_world) : world(the_world), table(world.context, apps(), 1 << 20) {}

  daemon::MultiplexedSocket& connect(daemon::ConnectionNumber number, const std::shared_ptr<MemoryWire>& wire,
                                     bool client) {
    auto link = std::make_unique<MemoryLink>(world.loop, wire, client, device_of(static_cast<std::uint8_t>(number)));
    daemon::MultiplexedSocket::Owner& owner = *this;
    auto socket =
        std::make_unique<daemon::MultiplexedSocket>(world.context, owner, number, std::move(link), proto::MuxConfig{});
    socket->start();
    return *sockets.emplace(number, std::move(socket)).first->second;
  }

  World& world;
  daemon::ChannelTable table;
  std::map<daemon::ConnectionNumber, std::unique_ptr<daemon::MultiplexedSocket>> sockets;
  std::map<std::string, proto::ChannelHandle> asked;   ///< what peers asked for, by name
  std::map<std::string, proto::ChannelHandle> opened;  ///< ours that are open, by name
  std::map<proto::ChannelHandle, std::string> names;   ///< of ours
  std::vector<std::pair<proto::ChannelHandle, proto::Reason>> cancelled;
  std::vector<daemon::ChannelEnd> ends;
  std::vector<ipc::Fd> fds;
  daemon::ChannelOptions options;  ///< of ours

  void open(daemon::MultiplexedSocket& socket, const std::string& name) {
    const auto made = socket.open(name, false);
    REQUIRE(made);
    names[made->channel] = name;
  }
  [[nodiscard]] std::vector<std::string> listed() const {
    std::vector<std::string> all;
    table.each([&](const daemon::ChannelView& view) { all.push_back(view.uri); });
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  daemon::ChannelApps& apps() { return *this; }
  void on_up(daemon::MultiplexedSocket&) override {}
  void on_channel_requested(daemon::MultiplexedSocket& socket, proto::ChannelHandle channel, const std::string& uri,
                            bool) override {
    table.requested(socket, channel, {}, uri);
    asked[uri] = channel;
  }
  void on_open_answered(daemon::MultiplexedSocket& socket, proto::ChannelHandle channel, proto::Reason reason,
                        const std::string&) override {
    if (reason != proto::Reason::kClosed) return;
    auto fd = socket.channels().attach(channel, options);
    REQUIRE(fd);
    fds.push_back(std::move(*fd));
    table.opened(socket, channel, {}, names.at(channel));
    opened[names.at(channel)] = channel;
  }
  void on_request_cancelled(daemon::MultiplexedSocket&, proto::ChannelHandle channel, proto::Reason reason) override {
    table.request_cancelled(channel, reason);
  }
  void on_channel_closed(daemon::MultiplexedSocket&, const daemon::ChannelEnd& end) override { table.ended(end); }
  [[nodiscard]] bool finish_may_come(proto::ChannelHandle) const override { return false; }
  void on_channel_left(daemon::MultiplexedSocket&, std::unique_ptr<daemon::ChannelSocket>& channel) override {
    table.left(channel);
  }
  void on_going_away(daemon::MultiplexedSocket&) override {}
  void on_down(daemon::MultiplexedSocket& socket, proto::Reason reason, const std::string&, std::error_code) override {
    table.connection_gone(socket, reason);
    world.loop.post([this, number = socket.number()] { sockets.erase(number); });
  }

  // daemon::ChannelApps
  void on_channel_requested(const daemon::IncomingChannel&) override {}
  void on_channel_request_cancelled(proto::ChannelHandle channel, proto::Reason reason) override {
    cancelled.emplace_back(channel, reason);
  }
  void on_channel_closed(const daemon::ChannelEnd& end) override { ends.push_back(end); }
};

/// Alice and Bob, and connections 1 and 2 between them.
struct MemoryPair {
  World world;
  MemoryDevice alice{world}, bob{world};

  MemoryPair() {
    for (const daemon::ConnectionNumber number : {1, 2}) connect(number);
  }
  void connect(daemon::ConnectionNumber number) {
    const auto wire = std::make_shared<MemoryWire>(world.loop, MemoryWire::Options{});
    daemon::MultiplexedSocket& ours = alice.connect(number, wire, true);
    daemon::MultiplexedSocket& theirs = bob.connect(number, wire, false);
    REQUIRE(world.run_until([&] { return ours.usable() && theirs.usable(); }));
  }
  void open(daemon::ConnectionNumber connection, const std::string& name) {
    alice.open(*alice.sockets.at(connection), name);
    REQUIRE(world.run_until([&] { return bob.asked.contains(name); }));
  }
  void open_and_accept(daemon::ConnectionNumber connection, const std::string& name) {
    open(connection, name);
    auto fd = bob.table.accept(bob.asked.at(name), bob.options);
    REQUIRE(std::holds_alternative<ipc::Fd>(fd));
    bob.fds.push_back(std::get<ipc::Fd>(std::move(fd)));
    REQUIRE(world.run_until([&] { return alice.opened.contains(name); }));
  }
};

}  // namespace connd::test
